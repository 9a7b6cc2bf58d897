//! Hello, Haul: a producer and a worker in one program, with one file between them.

use haul_producer::{Producer, Task};
use haul_worker::{Context, Worker};

#[derive(serde::Serialize, serde::Deserialize)]
struct Greet(String);

impl Task for Greet {
    const NAME: &'static str = "greet";
    type Output = String;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let greet = async |_: Context<()>, Greet(name)| Ok(format!("Hello, {name}!"));
    let worker = Worker::connect("sqlite:hello.db").await?.handle(greet);
    let _running = worker.start().await?;

    let haul = Producer::connect("sqlite:hello.db").await?;
    let job = haul.submit(Greet("world".into())).await?;
    println!("{}", job.wait(std::time::Duration::from_secs(20)).await?);
    Ok(())
}
