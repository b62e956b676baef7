//! The embedded engine: a backlog that was published while nobody read it, as on Kafka.

use std::time::Instant;

use super::{Measuring, Running};
use crate::bench::rest::Publishing;
use crate::bench::sample::Kind;

impl Measuring {
    pub(super) async fn embedded(&mut self) -> anyhow::Result<()> {
        let Some(setup) = self.gateway.as_ref().map(|setups| setups.plain.embedded()) else { return Ok(()) };
        self.progress.step("embedded engine: publishing a backlog");
        let gateway = setup.start().await?;
        gateway.configure(self.receiver.address).await?;
        self.stop(Running::Gateway(gateway)).await?;
        let numbers = self.numbers(self.extent.backlog);
        let gateway = setup.start_ingest().await?;
        let publishing = Publishing {
            address: gateway.address,
            key: gateway.key().to_owned(),
            batch: 100,
            warm_up: self.extent.settle,
            span: self.extent.publish,
            first_number: numbers.start,
            kind: Kind::Spread,
        };
        publishing.fill(numbers.clone()).await?;
        self.stop(Running::Gateway(gateway)).await?;
        self.progress.step("embedded engine: backlog");
        self.receiver.expect(numbers, Kind::Spread.copies(), Instant::now());
        let gateway = setup.start().await?;
        let tally = self.complete().await?;
        self.extra.embedded = Some(tally.rate());
        self.gated.repeats += tally.repeats();
        self.stop(Running::Gateway(gateway)).await
    }
}
