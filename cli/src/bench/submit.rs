//! Submit jobs in bulk, and leave them.

use anyhow::Result;
use haul_producer::Backend;

use super::{
    Figure,
    load::{Run, Shape},
    span::Span,
};

pub(super) async fn run(backend: Backend, jobs: usize, shape: Shape) -> Result<()> {
    let run = Run::new(backend.clone(), shape);
    run.prepare().await?;
    let span = Span::start();
    run.submit(jobs).await?;
    Figure::of_span(&backend, "submit", jobs, &span).print()
}
