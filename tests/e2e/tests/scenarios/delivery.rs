//! Messages and flows survive a room that is down, and two Jobs at the same time.

use crate::world::{Setup, eventually, scenario, seconds};
use anyhow::Result;

use crate::edits::{assert_opens, open_both_sides, short, touch_readme};

#[test]
fn i_a_room_that_is_down_gets_its_message_later_and_once() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let missed = scene.merge("Let the shop use pgbouncer").await?;
        scene.stop_homeserver().await?;
        let run = scene.verifier.run_for(&missed).await;
        scene.start_homeserver().await?;
        assert_eq!(run?.code, 3, "the message could not be delivered");
        let answers = async || Ok(scene.room.messages().await.ok());
        let so_far = eventually("Synapse answers again", seconds(60), answers).await?;
        assert!(!so_far.iter().any(|message| message.body.contains(&short(&missed))), "{so_far:?}");

        touch_readme(scene, "How we do things here\n")?;
        let next = scene.merge("Write a README").await?;
        scene.verifier.run_for(&next).await?.expect(0)?;
        scene.verifier.run_scheduled().await?.expect(0)?;
        let messages = scene.room.top().await?;
        let [_, old, new] = messages.as_slice() else { panic!("the old message, then the new: {messages:?}") };
        assert_opens(old, "✅", &missed);
        assert!(old.body.contains("6432"), "{}", old.body);
        assert_opens(new, "✅", &next);
        Ok(())
    })
}

#[test]
fn k_of_two_jobs_at_once_one_works_and_the_other_repeats_its_verdict() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        let said = scene.room.top().await?.len();
        let verifier = &scene.verifier;
        let (one, other) = tokio::try_join!(verifier.run_for(&commit), verifier.run_for(&commit))?;
        assert_eq!((one.code, other.code), (0, 0));
        assert_eq!(scene.room.top().await?.len(), said + 1, "one of them spoke");
        Ok(())
    })
}

#[test]
fn k_two_jobs_by_hand_at_once_share_one_verdict() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        let said = scene.room.top().await?.len();
        let (one, other) = scene.verifier.run_two_by_hand().await?;
        assert_eq!((one.code, other.code), (0, 0));
        let messages = scene.room.top().await?;
        let of_this: Vec<_> = messages.iter().skip(said).filter(|one| one.body.contains(&short(&commit))).collect();
        assert_eq!(of_this.len(), 1, "the merge is told once: {messages:?}");
        Ok(())
    })
}
