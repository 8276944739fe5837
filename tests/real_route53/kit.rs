//! Pointers of a test's own in Route 53.

use std::sync::Arc;

use aws_sdk_route53::Client;
use flipside::pointer::Pointer;
use flipside::pointer::aws::AwsPlan;
use flipside::pointer::route53::{Kind, Route53 as Kind53, Route53Plan};

use crate::support::aws;
use crate::support::backends::named_alike;
use crate::support::pointer_contract::Fixture;
use crate::support::route53::{ID, Route53, ZONE};

/// The service's name.
pub const NAME: &str = "shop.example.org";

/// At which a release of it is shown for preview.
pub const PREVIEW: &str = "preview.shop.example.org";

/// What a plan says of a service that answers at `port`, but for who serves the zone.
pub fn plan_of(name: &str, port: u16) -> Route53Plan {
    Route53Plan {
        zone: ID.into(),
        name: name.into(),
        kind: Kind::A,
        ttl: 1_000,
        blue: None,
        green: None,
        alias_zone: None,
        servers: Vec::new(),
        url: format!("http://{name}:{port}"),
        preview_hosts: Vec::new(),
        aws: AwsPlan::default(),
    }
}

/// What a plan says of it with the zone's own name server.
pub fn plan(server: &Route53, name: &str, port: u16) -> Route53Plan {
    Route53Plan {
        servers: vec![server.server.to_string()],
        ..plan_of(name, port)
    }
}

/// A pointer of AWS's at this endpoint.
pub fn pointer(endpoint: &str, plan: Route53Plan) -> Arc<dyn Pointer> {
    Arc::new(Kind53::by(plan, aws::at(endpoint, "us-east-1")).unwrap())
}

/// Releases 1 and 2 of a service behind it.
pub async fn behind(server: &Route53, of: impl Fn(Route53Plan) -> Route53Plan) -> Fixture {
    let at = named_alike(["one", "two"]).await;
    let plan = of(plan(server, NAME, at[0].port()));
    Fixture {
        pointer: pointer(&server.api.endpoint(), plan),
        at,
    }
}

/// The same, with a name at which releases are shown.
pub async fn with_preview(server: &Route53) -> Fixture {
    behind(server, |plan| Route53Plan {
        preview_hosts: vec![PREVIEW.into()],
        ..plan
    })
    .await
}

/// A second flipside on the same service.
pub fn beside(server: &Route53, fixture: &Fixture) -> Arc<dyn Pointer> {
    let plan = plan(server, NAME, fixture.at[0].port());
    pointer(&server.api.endpoint(), plan)
}

/// Names that lead to what hangs on each slot.
pub fn slots(server: &Route53) {
    for (name, ip) in [("blue", "127.0.0.1"), ("green", "127.0.0.2")] {
        let rest = format!(
            "<TTL>1</TTL><ResourceRecords><ResourceRecord><Value>{ip}</Value></ResourceRecord></ResourceRecords>"
        );
        server.by_hand(&format!("{name}.{ZONE}"), "A", &rest);
    }
}

/// A hosted zone that is made at an emulator: its id.
pub async fn zone_at(endpoint: &str) -> String {
    let aws = aws::at(endpoint, "us-east-1");
    let client = Client::new(aws.config().await.unwrap());
    let made = client.create_hosted_zone();
    let made = made.name(ZONE).caller_reference("test").send().await;
    let made = made.unwrap();
    let id = made.hosted_zone().unwrap().id();
    id.trim_start_matches("/hostedzone/").to_owned()
}
