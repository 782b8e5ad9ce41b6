//! The tour: each claim of the README shown by a request, and one replica broken and repaired.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::StatusCode;
use reqwest::Client;
use serde_json::json;

use super::demo_fleet::DemoFleet;
use super::demo_traffic::DemoTraffic;
use super::http_client::{Answer, Request, client};
use super::postgres_server::PostgresServer;
use super::screen::Screen;
use super::wait::until;
use super::world::{Region, World};

/// Sends the rates of all regions around the world.
const BAD_POLICY: &str = "\
policy rates {
  match   path /api/v1/rates/*
  prefer  ap-southeast-1
}
";

/// A replica counts as lagging after five seconds, and as failed after three more samples.
const HEALTH_DEADLINE: Duration = Duration::from_secs(60);

/// Takes the tour.
pub(super) async fn walk(world: &mut World, screen: &mut Screen) -> Result<()> {
    let [us, eu, ap] = &world.regions[..] else {
        bail!("the world has three regions")
    };
    let replica = eu.replica.context("eu-west-1 has a replica")?;
    let mut tour = Tour {
        us,
        eu,
        ap,
        primary: world.cluster.primary.url(),
        replica: &mut world.cluster.replicas[replica],
        fleet: &world.fleet,
        jwt: &world.jwt,
        client: client()?,
        screen,
        step: 0,
        failed: vec![],
    };
    tour.wait_until_healthy().await?;
    tour.reads().await?;
    tour.writes().await?;
    tour.mistakes().await?;
    tour.broken_replica().await?;
    tour.lost_databases().await?;
    tour.bad_policy().await?;
    tour.conclude()
}

struct Tour<'a> {
    us: &'a Region,
    eu: &'a Region,
    ap: &'a Region,
    primary: String,
    replica: &'a mut PostgresServer,
    fleet: &'a DemoFleet,
    jwt: &'a str,
    client: Client,
    screen: &'a mut Screen,
    step: usize,
    failed: Vec<String>,
}

impl Tour<'_> {
    async fn wait_until_healthy(&self) -> Result<()> {
        for region in [self.us, self.eu, self.ap] {
            self.wait_for_health(region, StatusCode::OK).await?;
        }
        Ok(())
    }

    async fn reads(&mut self) -> Result<()> {
        let rates = || Request::get(self.eu.gateway.url("/api/v1/rates/EUR/USD"));
        let (near, fresh) = (rates(), rates().header("X-Consistency", "strong"));
        self.title("A rate read in eu-west-1 comes from the replica beside it")?;
        let answer = self.ask(&near).await?;
        self.check("200", answer.status == StatusCode::OK)?;
        self.check(
            "the replica served it",
            is_by(&answer, self.eu) && !answer.is_by_primary(),
        )?;
        self.check("a CDN may cache it for five minutes", has_max_age(&answer))?;
        self.title("The second answer comes from memory, and states how old it can be at most")?;
        let again = self.ask(&near).await?;
        self.check(
            "the cache answered",
            again.header("Cache-Status").starts_with("tidegate; hit"),
        )?;
        self.check("with an age", !again.header("Age").is_empty())?;
        self.check("the same rate", again.text() == answer.text())?;

        self.title("The same rate, strong: the primary answers, one round trip away")?;
        let answer = self.ask_thrice(&fresh).await?;
        self.check("the primary served it", answer.is_by_primary())?;
        self.check(
            "it took one round trip, not two",
            takes_one_round_trip(&answer, self.eu),
        )?;
        self.check("no cache may store it", is_private(&answer))?;
        self.check(
            "it carries a token",
            !answer.header("X-Consistency-Token").is_empty(),
        )?;

        self.title("Cache-Control depends on the path: an account's balances must not be cached")?;
        let balances = Request::get(self.us.gateway.url("/account/balances"));
        let answer = self.ask(&balances.clone().bearer(self.jwt)).await?;
        self.check("200", answer.status == StatusCode::OK)?;
        self.check("no cache may store it", is_private(&answer))?;
        self.title("… and they require a bearer token")?;
        let answer = self.ask(&balances).await?;
        self.check("401", answer.status == StatusCode::UNAUTHORIZED)
    }

    async fn writes(&mut self) -> Result<()> {
        let body = json!({ "to": "bob", "currency": "USD", "amount": "12.50" });
        let transfer = Request::post(self.ap.gateway.url("/api/v1/transfers"), body);
        let transfer = transfer
            .header("Idempotency-Key", "tour-1")
            .bearer(self.jwt);
        self.title("A transfer made in ap-southeast-1, 220 ms from the primary")?;
        let made = self.ask(&transfer).await?;
        self.check("201", made.status == StatusCode::CREATED)?;
        self.check("the primary served it", made.is_by_primary())?;
        let token = made.header("X-Consistency-Token").to_owned();
        self.check("it carries a token", !token.is_empty())?;

        self.title("Sent again with its idempotency key, it has one effect")?;
        let again = self.ask_thrice(&transfer).await?;
        self.check(
            "it took one round trip, not two",
            takes_one_round_trip(&again, self.ap),
        )?;
        self.check(
            "the same transfer",
            again.body == made.body && !made.body["id"].is_null(),
        )?;

        self.title("Read back at once in eu-west-1")?;
        let path = format!("/api/v1/transfers/{}", made.body["id"]);
        let read = Request::get(self.eu.gateway.url(&path)).bearer(self.jwt);
        let read = self
            .ask(&read.header("X-Consistency-Token", token.clone()))
            .await?;
        self.check("200", read.status == StatusCode::OK)?;
        self.check("it is the transfer", read.body["id"] == made.body["id"])?;

        self.title("A token makes an eventual read include what its client wrote")?;
        let fees = Request::get(self.ap.gateway.url("/public/fees"));
        let fees = self.ask(&fees.header("X-Consistency-Token", token)).await?;
        self.check("200", fees.status == StatusCode::OK)?;
        self.check("the level is session", fees.decided("level", "session"))?;
        self.check("no cache may store it", is_private(&fees))
    }

    async fn mistakes(&mut self) -> Result<()> {
        self.title("An unknown level is refused, not guessed")?;
        let request = Request::get(self.eu.gateway.url("/public/rates"));
        let answer = self
            .ask(&request.header("X-Consistency", "quite-strong"))
            .await?;
        self.check("400", answer.status == StatusCode::BAD_REQUEST)?;
        self.check(
            "a problem document names it",
            is_problem(&answer, "invalid-consistency"),
        )
    }

    async fn broken_replica(&mut self) -> Result<()> {
        self.title("The replica of eu-west-1 stops replaying while rates continue to change")?;
        self.replica.pause_replay().await?;
        self.screen.print("   (paused; waiting for /health/edge)")?;
        self.wait_for_health(self.eu, StatusCode::SERVICE_UNAVAILABLE)
            .await?;
        let health = self.ask(&health(self.eu)).await?;
        self.check(
            "the health check of eu-west-1 fails, so DNS moves traffic away",
            health.body["status"] == "unhealthy",
        )?;
        for region in [self.us, self.ap] {
            let answer = health_of(region, &self.client).await?;
            self.check(
                &format!("{} stays healthy", region.name),
                answer == StatusCode::OK,
            )?;
        }

        self.title("Requests that still arrive there are handed to the next region")?;
        // A level is stated so that a node answers and not the cache.
        let rates = Request::get(self.eu.gateway.url("/api/v1/rates/EUR/USD"));
        let rates = rates.header("X-Consistency", "eventual");
        self.wait_until_served_in(self.us, &rates).await?;
        let answer = self.ask(&rates).await?;
        self.check("200", answer.status == StatusCode::OK)?;
        self.check("us-east-1 served it", is_served_in(&answer, self.us))?;
        self.check(
            "it states the reason",
            answer
                .header("Consistency-Status")
                .ends_with(", eu-west-1; fwd=us-east-1; policy=everything; reason=left"),
        )?;

        self.title("The replica replays again")?;
        self.replica.resume_replay().await?;
        self.wait_for_health(self.eu, StatusCode::OK).await?;
        self.wait_until_served_in(self.eu, &rates).await?;
        let answer = self.ask(&rates).await?;
        self.check("eu-west-1 is healthy", true)?;
        self.check(
            "its replica is used again",
            is_by(&answer, self.eu) && !answer.is_by_primary(),
        )
    }

    async fn lost_databases(&mut self) -> Result<()> {
        let rates = Request::get(self.eu.gateway.url("/api/v1/rates/EUR/USD"));
        let rates = rates.header("X-Consistency", "eventual");
        self.title("The database of eu-west-1 is killed: the next request is answered elsewhere")?;
        self.replica.kill().await?;
        let answer = self.ask(&rates).await?;
        self.check("200", answer.status == StatusCode::OK)?;
        self.check(
            "us-east-1 answered, its node or its gateway",
            answer.is_by_primary() || is_served_in(&answer, self.us),
        )?;
        self.title("… and the requests after it go to the gateway there")?;
        self.wait_until_served_in(self.us, &rates).await?;
        let answer = self.ask(&rates).await?;
        self.check("200", answer.status == StatusCode::OK)?;
        self.check("us-east-1 served it", is_served_in(&answer, self.us))?;
        self.replica.start().await?;
        self.wait_until_served_in(self.eu, &rates).await?;
        self.check("with its database, eu-west-1 serves again", true)
    }

    async fn bad_policy(&mut self) -> Result<()> {
        let url = self.eu.gateway.url("/api/v1/rates/EUR/USD");
        self.title(
            "A traffic policy that sends rates around the world is rolled out, and taken back",
        )?;
        self.screen
            .print(&format!("   {}", BAD_POLICY.trim().replace('\n', "\n   ")))?;
        let traffic = DemoTraffic::start(&self.client, &url);
        let revision = self.fleet.push(&self.primary, BAD_POLICY).await?;
        let rollout = [
            &["rollout", &revision, "--canary", self.eu.name][..],
            &["--bake", "3s", "--blast-radius", "100%"],
        ];
        self.screen.print(&format!(
            "   tidegate policy {}",
            rollout.concat().join(" ")
        ))?;
        let ended = self.fleet.policy(&self.primary, &rollout.concat()).await?;
        drop(traffic);
        for line in [&ended.stdout, &ended.stderr] {
            let line = String::from_utf8_lossy(line);
            self.screen
                .print(&format!("   {}", line.trim().replace('\n', "\n   ")))?;
        }
        self.check("it was stopped", ended.status.code() == Some(4))?;
        let rates = Request::get(url).header("X-Consistency", "eventual");
        self.wait_until_served_in(self.eu, &rates).await?;
        let answer = self.ask(&rates).await?;
        self.check(
            "eu-west-1 serves its own requests, as before",
            is_by(&answer, self.eu) && !answer.is_by_primary(),
        )
    }

    fn conclude(&mut self) -> Result<()> {
        if self.failed.is_empty() {
            return self.screen.print(&format!(
                "\nThe tour is over: {} stops, all well.",
                self.step
            ));
        }
        bail!(
            "these checks of the tour failed:\n  {}",
            self.failed.join("\n  ")
        )
    }

    fn title(&mut self, title: &str) -> Result<()> {
        self.step += 1;
        self.screen.print(&format!("\n{}. {title}", self.step))
    }

    async fn ask(&mut self, request: &Request) -> Result<Answer> {
        let answer = request.send(&self.client).await?;
        self.show(request, &answer)?;
        Ok(answer)
    }

    /// Shows the quickest of three: a busy machine may delay one or two.
    async fn ask_thrice(&mut self, request: &Request) -> Result<Answer> {
        let mut quickest = request.send(&self.client).await?;
        for _ in 1..3 {
            let answer = request.send(&self.client).await?;
            quickest = std::cmp::min_by_key(quickest, answer, |answer| answer.took);
        }
        self.show(request, &quickest)?;
        Ok(quickest)
    }

    fn show(&mut self, request: &Request, answer: &Answer) -> Result<()> {
        self.screen
            .print(&format!("{}{}", request.lines(), answer.lines()))
    }

    fn check(&mut self, claim: &str, holds: bool) -> Result<()> {
        if !holds {
            self.failed.push(format!("stop {}: {claim}", self.step));
        }
        self.screen
            .print(&format!("   {} {claim}", if holds { "✓" } else { "✗" }))
    }

    async fn wait_until_served_in(&self, region: &Region, request: &Request) -> Result<()> {
        let what = format!("requests are served in {}", region.name);
        until(&what, HEALTH_DEADLINE, async || {
            let answer = request.send(&self.client).await?;
            Ok(is_served_in(&answer, region).then_some(()))
        })
        .await
    }

    async fn wait_for_health(&self, region: &Region, status: StatusCode) -> Result<()> {
        let what = format!("/health/edge of {} is {status}", region.name);
        until(&what, HEALTH_DEADLINE, async || {
            Ok((health_of(region, &self.client).await? == status).then_some(()))
        })
        .await
    }
}

fn health(region: &Region) -> Request {
    Request::get(region.gateway.url("/health/edge"))
}

async fn health_of(region: &Region, client: &Client) -> Result<StatusCode> {
    Ok(health(region).send(client).await?.status)
}

fn is_served_in(answer: &Answer, region: &Region) -> bool {
    let status = answer.header("Consistency-Status");
    status.split(';').next() == Some(region.name)
}

fn is_by(answer: &Answer, region: &Region) -> bool {
    answer.decided("node", "replica") && answer.decided("node-region", region.name)
}

fn takes_one_round_trip(answer: &Answer, region: &Region) -> bool {
    (region.round_trip..region.round_trip * 2).contains(&answer.took)
}

fn has_max_age(answer: &Answer) -> bool {
    answer.header("Cache-Control") == "public, max-age=300, stale-while-revalidate=60"
}

fn is_private(answer: &Answer) -> bool {
    answer.header("Cache-Control") == "no-store, private"
}

fn is_problem(answer: &Answer, name: &str) -> bool {
    let named = answer.body["type"]
        .as_str()
        .unwrap_or_default()
        .ends_with(&format!("/{name}"));
    named
        && answer
            .header("Content-Type")
            .starts_with("application/problem+json")
}
