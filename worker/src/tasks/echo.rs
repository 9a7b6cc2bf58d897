//! `haul.echo`: returns its arguments. To try things out.

use haul_common::job::{Failure, Json, Task};
use serde::{Deserialize, Serialize};

use crate::Context;

/// Any JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Echo(pub Json);

impl Task for Echo {
    const NAME: &'static str = "haul.echo";
    type Output = Json;
}

pub(super) async fn run(_ctx: Context<()>, Echo(args): Echo) -> Result<Json, Failure> {
    Ok(args)
}
