//! The first customer's own tree and namespaces, under their real names.

use crate::world::{DataPlane, Setup, scenario};
use anyhow::Result;

#[test]
fn the_customers_first_run_takes_the_state_of_every_rule() -> Result<()> {
    let setup = Setup {
        fixture: "plana",
        data_planes: &[DataPlane::Calico],
        alone: true,
        real_names: true,
        ..Setup::default()
    };
    scenario(setup, async |scene| {
        let run = scene.first_run().await?;
        let report = run.report()?;
        for (source, destination, port) in [
            ("pulse-account/api", "pulse-events/pulse-events", 3001),
            ("pulse-account/api", "redis/redis", 6379),
            ("ai-bos-agent/ai-agents", "pulse-data/pulse-data", 8000),
            ("envoy-gateway-system/envoy", "plana-odoo-acme/odoo", 8069),
        ] {
            let seen = report.flows.iter().any(|flow| {
                (flow.destination(), flow.port) == (destination.to_owned(), port) && flow.observed == "open"
            });
            assert!(seen, "{source} → {destination}:{port} was seen open: {report}");
        }
        let closed = report.flows.iter().filter(|flow| flow.declared == "denied" && flow.result == "verified").count();
        assert!(closed >= 10, "each isolated workload was seen closed, {closed} of them: {report}");
        let message = scene.room.last().await?;
        assert!(message.first_line().starts_with('✅'), "{}", message.body);
        assert!(message.first_line().contains("first state taken"), "{}", message.body);
        Ok(())
    })
}
