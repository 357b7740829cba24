//! The list of intended flows in the repository: what it has too much, and what it lacks, is found and told once.

use crate::world::{Message, Report, Scene, Setup, report::Finding, scenario};
use anyhow::Result;
use serde_json::json;

use crate::edits::{assert_opens, row, web_to_db};

const LIST: &str = "infra/allowlist.yaml";

/// The small shop's flows, as an operations page has them.
const INTENDED: &str = "schema: netpol-verify/allowlist/v1
namespaces:
- match: xx-shop
  egress:
  - {to: coredns.kube-system, ports: [53, 53/UDP], reason: Names}
  - {to: db.xx-store, ports: [5432], reason: Orders}
  - {to: db.xx-store, ports: [6379], reason: Sessions}
  ingress: []
- match: xx-store
  egress: []
  ingress:
  - {from: xx-shop, ports: [5432, 6379], reason: Orders and sessions}
";
const SESSIONS: &str = "  - {to: db.xx-store, ports: [6379], reason: Sessions}\n";
const POOLER: &str = "  - {to: db.xx-store, ports: [6432], reason: Pooled connections}\n";

/// Of the list alone.
fn of_list(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.rule.starts_with("allowlist-")).collect()
}

async fn said(scene: &Scene, message: &Message) -> Result<String> {
    let thread = scene.room.thread(message).await?;
    Ok([&message.body].into_iter().chain(thread.iter().map(|part| &part.body)).map(String::as_str).collect())
}

#[test]
fn an_intended_flow_that_is_closed_and_an_open_one_that_nobody_intends_are_findings_until_the_list_is_right()
-> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        // The control: a list of what is so has nothing to say.
        scene.git.write(LIST, &scene.text(INTENDED))?;
        scene.verifier.configure(&json!({"allowlist": LIST})).await?;
        let run = scene.merge_and_run("Write down what is intended").await?;
        let report = run.expect(0)?;
        assert!(of_list(report).is_empty(), "{report}");

        scene.git.replace(LIST, &scene.text(SESSIONS), &scene.text(POOLER))?;
        let red = scene.merge("Sessions go, pooled connections come").await?;
        let run = scene.verifier.run_for(&red).await?;
        let report = run.expect(1)?;
        let found = of_list(report);
        let rules: Vec<_> = found.iter().map(|finding| (finding.rule.as_str(), finding.severity.as_str())).collect();
        assert_eq!(rules, [("allowlist-missing", "error"), ("allowlist-excess", "error")], "{report}");
        let place = |finding: &Finding| finding.origin.clone().and_then(|at| Some((at.file, at.line?)));
        assert_eq!(place(found[0]), Some((LIST.to_owned(), scene.git.line_of(LIST, "6432")?)), "{:?}", found[0]);
        let rule = place(found[1]).expect("the rule that opens it");
        assert_eq!(rule.0, crate::edits::SHOP, "{:?}", found[1]);
        for (finding, words) in [(found[0], "xx-shop → db.xx-store:6432"), (found[1], "db:6379")] {
            assert!(finding.message.contains(&scene.text(words)), "{}", finding.message);
        }
        let message = scene.room.last().await?;
        assert_opens(&message, "❌", &red);
        assert_eq!(message.mentions, std::slice::from_ref(&scene.room.reader));
        let told = said(scene, &message).await?;
        for words in [scene.text("xx-shop → db.xx-store:6432"), "(Pooled connections)".to_owned(), LIST.to_owned()] {
            assert!(told.contains(&words), "`{words}` is told: {told}");
        }
        assert!(told.contains("which nothing in infra/allowlist.yaml intends"), "{told}");

        // Said once: the schedule looks again and keeps it open in silence.
        let before = scene.room.top().await?.len();
        let again = scene.verifier.run_scheduled().await?;
        assert_eq!(of_list(again.expect(1)?).len(), 2, "{}", again.report()?);
        assert_eq!(scene.room.top().await?.len(), before, "it is told once, and stays open");

        // The policies were right all the time: no flow changed, none is probed anew.
        scene.git.replace(LIST, &scene.text(POOLER), &scene.text(SESSIONS))?;
        let green = scene.merge("They stay as they are").await?;
        let run = scene.verifier.run_for(&green).await?;
        let report = run.expect(0)?;
        assert!(of_list(report).is_empty(), "{report}");
        assert_opens(&scene.room.last().await?, "✅", &green);
        let thread = scene.room.thread(&message).await?;
        let cleared = thread.iter().filter(|reply| reply.body.contains("clears")).count();
        assert_eq!(cleared, 1, "cleared once, where it was said: {thread:?}");
        Ok(())
    })
}

#[test]
fn a_flow_that_the_list_and_a_merge_open_together_is_verified_without_a_word_about_the_list() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        let both = INTENDED.replace(SESSIONS, &format!("{SESSIONS}{POOLER}")).replace("6379]", "6379, 6432]");
        scene.git.write(LIST, &scene.text(&both))?;
        scene.verifier.configure(&json!({"allowlist": LIST})).await?;
        crate::edits::open_both_sides(scene, 6432)?;
        let run = scene.merge_and_run("Let the shop use pgbouncer").await?;
        let report = run.expect(0)?;
        assert_eq!(row(web_to_db(scene, report, 6432)), ["denied", "allowed", "allowed", "open", "verified"]);
        assert!(of_list(report).is_empty(), "{report}");
        Ok(())
    })
}
