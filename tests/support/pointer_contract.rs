//! What every pointer, the fake included, must do. Each function is one promise of the trait.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use flipside::core::event::SwitchRefusal;
use flipside::core::names::{Release, Slot};
use flipside::core::progress::Silent;
use flipside::core::routing::{Deadline, Guard, Mark, Marks, Route, Routing};
use flipside::pointer::{Pointer, PointerError, Way};

/// One service that its pointer knows nothing of yet.
pub struct Fixture {
    /// Its pointer.
    pub pointer: Arc<dyn Pointer>,
    /// Where releases 1 and 2 of it answer.
    pub at: [SocketAddr; 2],
}

impl Fixture {
    /// All traffic to one of the two releases.
    pub fn to(&self, release: u64) -> Routing {
        Routing {
            generation: 0,
            fence: 1,
            author: "ann@here".into(),
            reason: format!("deploy shop@{release}"),
            at: 1_700_000_000_000,
            routes: vec![self.route(release, 100)],
            marks: BTreeMap::new(),
            deadline: None,
            preview: None,
            foreign: None,
        }
    }

    /// All traffic to release 1, and release 2 for those who ask for the preview.
    pub fn shown(&self) -> Routing {
        Routing {
            routes: vec![self.route(1, 100), self.route(2, 0)],
            preview: Some(Release(2)),
            ..self.to(1)
        }
    }

    fn route(&self, release: u64, weight: u32) -> Route {
        let second = usize::from(release == 2);
        Route {
            release: Release(release),
            slot: [Slot::Blue, Slot::Green][second],
            weight,
            endpoints: vec![self.at[second]],
        }
    }

    async fn found(&self) -> Routing {
        self.pointer.read().await.unwrap().expect("a routing")
    }
}

/// How many promises there are.
pub const PROMISES: usize = 13;

/// Every promise, each on a service of its own.
pub async fn all<F: AsyncFn() -> Fixture>(fixture: F) {
    what_is_not_known_reads_as_nothing(&fixture().await).await;
    ready_twice_is_once(&fixture().await).await;
    a_look_ahead_moves_nothing(&fixture().await).await;
    a_write_reads_back_in_full(&fixture().await).await;
    a_write_twice_is_once(&fixture().await).await;
    a_write_over_something_else_moves_nothing(&fixture().await).await;
    a_lower_fence_moves_nothing(&fixture().await).await;
    the_release_with_the_weight_answers(&fixture().await).await;
    a_preview_is_seen_by_those_who_ask(&fixture().await).await;
    what_was_not_in_flight_is_settled(&fixture().await).await;
    marks_add_up(&fixture().await).await;
    forgetting_twice_is_once(&fixture().await).await;
    removing_twice_is_once(&fixture().await).await;
}

/// [`Pointer::read`] of an unknown service.
pub async fn what_is_not_known_reads_as_nothing(fixture: &Fixture) {
    assert_eq!(fixture.pointer.read().await, Ok(None));
    assert!(!fixture.pointer.describe().is_empty());
}

/// [`Pointer::ready`] is idempotent and moves nothing.
pub async fn ready_twice_is_once(fixture: &Fixture) {
    let generation = fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    fixture.pointer.ready(&Silent).await.unwrap();
    fixture.pointer.ready(&Silent).await.unwrap();
    assert_eq!(fixture.found().await.generation, generation);
}

/// [`Pointer::foresee`] changes nothing, and has nothing against what is written already.
pub async fn a_look_ahead_moves_nothing(fixture: &Fixture) {
    assert_eq!(fixture.pointer.foresee().await, Ok(()));
    assert_eq!(fixture.pointer.read().await, Ok(None));
    let generation = fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    assert_eq!(fixture.pointer.foresee().await, Ok(()));
    assert_eq!(fixture.found().await.generation, generation);
}

/// Nothing of a routing is lost on the way to the pointer and back.
pub async fn a_write_reads_back_in_full(fixture: &Fixture) {
    let able = fixture.pointer.capabilities();
    let mut desired = fixture.to(1);
    if able.weighted {
        desired.routes = vec![fixture.route(1, 90), fixture.route(2, 10)];
    }
    if able.marks {
        let served = Marks {
            proven: true,
            served: Some(1),
            withdrawn: false,
        };
        let left = Marks {
            proven: true,
            served: Some(7),
            withdrawn: true,
        };
        desired.marks = [(Release(1), served), (Release(9), left)].into();
    }
    desired.deadline = Some(Deadline {
        at: 1_700_000_060_000,
        back_to: vec![fixture.route(2, 100)],
    });
    let generation = fixture.pointer.write(None, &desired).await.unwrap();
    desired.generation = generation;
    assert_eq!(generation, 1);
    assert_eq!(fixture.found().await, desired);
}

/// A write whose answer was lost may be repeated, at another time by the clock.
pub async fn a_write_twice_is_once(fixture: &Fixture) {
    let first = fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let later = Routing {
        at: 1_700_000_009_000,
        ..fixture.to(1)
    };
    assert_eq!(fixture.pointer.write(None, &later).await, Ok(first));
    let second = fixture.pointer.write(Some(first), &fixture.to(2)).await;
    assert_eq!(second, Ok(first + 1));
    let again = fixture.pointer.write(Some(first), &fixture.to(2)).await;
    assert_eq!(again, second);
    assert_eq!(fixture.found().await.generation, first + 1);
}

/// The guard: what somebody else has made is not overwritten, and is shown.
pub async fn a_write_over_something_else_moves_nothing(fixture: &Fixture) {
    let none = fixture.pointer.write(Some(3), &fixture.to(1)).await;
    assert_eq!(
        none,
        Err(PointerError::Refused {
            why: SwitchRefusal::Moved,
            found: None,
        })
    );
    let first = fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let there = fixture.found().await;
    for expected in [None, Some(first + 1)] {
        let refused = fixture.pointer.write(expected, &fixture.to(2)).await;
        let found = Some(Box::new(there.clone()));
        assert_eq!(
            refused,
            Err(PointerError::Refused {
                why: SwitchRefusal::Moved,
                found,
            }),
            "{expected:?}"
        );
    }
    assert_eq!(fixture.found().await, there);
}

/// Where the server refuses a lower number, it does so for every change.
pub async fn a_lower_fence_moves_nothing(fixture: &Fixture) {
    let able = fixture.pointer.capabilities();
    if able.guard != Guard::Fenced {
        return;
    }
    let fence = |fence| Routing {
        fence,
        ..fixture.to(1)
    };
    let pointer = &fixture.pointer;
    let first = pointer.write(None, &fence(5)).await.unwrap();
    let there = fixture.found().await;
    let fenced = PointerError::Refused {
        why: SwitchRefusal::Fenced,
        found: Some(Box::new(there.clone())),
    };
    assert_eq!(
        pointer.write(Some(first), &fence(4)).await,
        Err(fenced.clone())
    );
    if able.marks {
        let marked = pointer.mark(4, Release(1), Mark::Withdrawn).await;
        assert_eq!(marked, Err(fenced.clone()));
        let forgotten = pointer.forget(4, &[Release(1)]).await;
        assert_eq!(forgotten, Err(fenced.clone()));
    }
    assert_eq!(pointer.remove(4).await, Err(fenced));
    assert_eq!(fixture.found().await, there);
    let raised = Routing {
        fence: 6,
        ..fixture.to(2)
    };
    assert_eq!(pointer.write(Some(first), &raised).await, Ok(first + 1));
}

/// A switch is seen by the next request.
pub async fn the_release_with_the_weight_answers(fixture: &Fixture) {
    let mut expected = None;
    for release in [1, 2, 1] {
        let desired = fixture.to(release);
        let generation = fixture.pointer.write(expected, &desired).await.unwrap();
        expected = Some(generation);
        let answer = fixture.pointer.ask(Way::Service, "/up?x=1").await.unwrap();
        assert_eq!(answer.release, Some(Release(release)));
        assert_eq!(answer.status, Some(200));
    }
}

/// Where a preview can be shown, nobody sees it who does not ask for it.
pub async fn a_preview_is_seen_by_those_who_ask(fixture: &Fixture) {
    let pointer = &fixture.pointer;
    let able = pointer.capabilities().preview;
    assert_eq!(pointer.preview().is_some(), able);
    if !able {
        assert!(pointer.ask(Way::Preview, "/").await.is_err());
        return;
    }
    let answers = async |way| pointer.ask(way, "/").await.unwrap().release;
    let first = pointer.write(None, &fixture.to(1)).await.unwrap();
    let mut shown = fixture.shown();
    shown.generation = pointer.write(Some(first), &shown).await.unwrap();
    assert_eq!(fixture.found().await, shown);
    assert_eq!(answers(Way::Preview).await, Some(Release(2)));
    assert_eq!(answers(Way::Service).await, Some(Release(1)));
    let switched = pointer.write(Some(shown.generation), &fixture.to(2)).await;
    switched.unwrap();
    assert_eq!(fixture.found().await.preview, None);
    assert_eq!(answers(Way::Service).await, Some(Release(2)));
}

/// What served before flipside came is seen as release 0, kept, and put back as it was. Not among
/// [`all`]: the fixture's pointer must send its users somewhere already.
pub async fn what_stood_there_is_put_back(fixture: &Fixture) {
    let pointer = &fixture.pointer;
    let there = fixture.found().await;
    assert_eq!((there.live(), there.generation), (Some(Release(0)), 0));
    assert!(there.routes.iter().all(|route| route.release == Release(0)));
    assert!(there.foreign.is_some());
    let refused = pointer.write(None, &fixture.to(1)).await;
    let moved = PointerError::Refused {
        why: SwitchRefusal::Moved,
        found: Some(Box::new(there.clone())),
    };
    assert_eq!(refused, Err(moved));
    let adopted = Routing {
        foreign: there.foreign.clone(),
        ..fixture.to(1)
    };
    assert_eq!(pointer.write(Some(0), &adopted).await, Ok(1));
    assert_eq!(fixture.found().await.foreign, there.foreign);
    let answer = pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(1)));
    let back = Routing {
        routes: there.routes.clone(),
        foreign: there.foreign.clone(),
        ..fixture.to(1)
    };
    assert_eq!(pointer.write(Some(1), &back).await, Ok(2));
    let found = fixture.found().await;
    assert_eq!((found.live(), found.generation), (Some(Release(0)), 2));
    assert_eq!(found.foreign, there.foreign);
}

/// Where nothing was in flight, a drain ends and says so.
pub async fn what_was_not_in_flight_is_settled(fixture: &Fixture) {
    let first = fixture.pointer.write(None, &fixture.to(1)).await.unwrap();
    let second = fixture.pointer.write(Some(first), &fixture.to(2)).await;
    let settled = fixture.pointer.settled(second.unwrap(), 5_000, &Silent);
    let drained = settled.await.unwrap();
    if fixture.pointer.capabilities().counts {
        assert_eq!(drained.in_flight, Some(0));
        assert_eq!(drained.finished, Some(0));
        assert_eq!(drained.cut, Some(0));
    }
}

/// Marks are kept beside the routing, and move nothing.
pub async fn marks_add_up(fixture: &Fixture) {
    let pointer = &fixture.pointer;
    let generation = pointer.write(None, &fixture.to(1)).await.unwrap();
    if !pointer.capabilities().marks {
        assert!(pointer.mark(1, Release(1), Mark::Proven).await.is_err());
        return;
    }
    let release = Release(8);
    let mut marks = Marks::default();
    let all = [
        Mark::Proven,
        Mark::Served(4),
        Mark::Withdrawn,
        Mark::Withdrawn,
        Mark::Served(6),
        Mark::Served(5),
    ];
    for mark in all {
        pointer.mark(1, release, mark).await.unwrap();
        marks.add(mark);
        let found = fixture.found().await;
        assert_eq!(found.marks.get(&release), Some(&marks), "{mark:?}");
        assert_eq!(found.generation, generation);
        assert_eq!(found.routes, fixture.to(1).routes);
    }
}

/// [`Pointer::forget`] is idempotent, also for a service that is not there.
pub async fn forgetting_twice_is_once(fixture: &Fixture) {
    let pointer = &fixture.pointer;
    pointer.forget(1, &[Release(1)]).await.unwrap();
    pointer.write(None, &fixture.to(1)).await.unwrap();
    if !pointer.capabilities().marks {
        return;
    }
    for release in [7, 8, 9] {
        let marked = pointer.mark(1, Release(release), Mark::Proven).await;
        marked.unwrap();
    }
    for _ in 0..2 {
        let gone = pointer.forget(1, &[Release(7), Release(9)]).await;
        gone.unwrap();
        let left: Vec<Release> = fixture.found().await.marks.into_keys().collect();
        assert_eq!(left, [Release(8)]);
    }
}

/// [`Pointer::remove`] is idempotent, and the service can come back.
pub async fn removing_twice_is_once(fixture: &Fixture) {
    let pointer = &fixture.pointer;
    pointer.remove(1).await.unwrap();
    pointer.write(None, &fixture.to(1)).await.unwrap();
    for _ in 0..2 {
        pointer.remove(1).await.unwrap();
        assert_eq!(pointer.read().await, Ok(None));
    }
    assert_eq!(pointer.write(None, &fixture.to(2)).await, Ok(1));
    let answer = pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(2)));
}
