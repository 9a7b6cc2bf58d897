//! temporary
mod bench;
use clap::Parser;
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    b: bench::BenchArgs,
}
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("HAUL_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let cli = Cli::parse();
    let b = std::env::var("HAUL_BROKER").unwrap_or("sqlite:haul.db".into());
    let s = std::env::var("HAUL_STORE").ok();
    let u = haul_producer::Urls {
        broker: b,
        store: s,
        namespace: None,
    };
    let backend = haul_producer::Backend::connect(u).await?;
    bench::run(&cli.b, backend).await
}
