//! What every engine must do with environments that sleep.

use flipside::core::names::{Millis, Release};
use flipside::core::plan::{Condition, StandbyMode};
use flipside::core::progress::Silent;
use flipside::core::world::{ContainerState, Environment};
use futures_util::FutureExt;

use super::engine_contract::Fixture;
use super::sample;

const WAYS: [StandbyMode; 2] = [StandbyMode::Frozen, StandbyMode::Stopped];

/// Every promise, one after the other.
pub async fn all(f: &Fixture<'_>) {
    what_is_gone_neither_sleeps_nor_wakes(f).await;
    asleep_twice_is_asleep_once_and_so_is_awake(f).await;
    half_asleep_goes_either_way(f).await;
    what_sleeps_can_be_read_and_removed(f).await;
    it_costs_what_it_holds(f).await;
}

async fn seen(f: &Fixture<'_>, release: u64) -> Environment {
    let mut all = f.engine.inspect(&f.service).await.unwrap().into_iter();
    all.find(|it| it.release == Release(release)).unwrap()
}

async fn freeze(f: &Fixture<'_>, release: u64, mode: StandbyMode) {
    let freeze = f.engine.freeze(&f.service, Release(release), mode);
    freeze.await.unwrap();
}

async fn wake(f: &Fixture<'_>, release: u64) {
    let wake = f.engine.wake(&f.service, Release(release), &Silent);
    wake.await.unwrap();
}

fn now() -> Millis {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

fn sleeps(environment: &Environment, mode: StandbyMode) -> bool {
    let how = |state: &ContainerState| match mode {
        StandbyMode::Running => *state == ContainerState::Running,
        StandbyMode::Frozen => *state == ContainerState::Paused,
        StandbyMode::Stopped => matches!(state, ContainerState::Exited { .. }),
    };
    environment.containers.iter().all(|c| how(&c.state))
}

pub async fn what_is_gone_neither_sleeps_nor_wakes(f: &Fixture<'_>) {
    for mode in WAYS {
        freeze(f, 1, mode).await;
    }
    wake(f, 1).await;
    assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
}

pub async fn asleep_twice_is_asleep_once_and_so_is_awake(f: &Fixture<'_>) {
    let mut spec = f.spec(1, 2);
    let role = |name| flipside::core::names::RoleName::new(name).unwrap();
    let mut front = sample::role(f.image.clone());
    front.depends_on = [(role("web"), Condition::Started)].into();
    spec.plan.roles.insert(role("front"), front);
    let other = f.up(&f.spec(2, 1)).await;
    let before = f.up(&spec).await;
    freeze(f, 1, StandbyMode::Running).await;
    assert!(seen(f, 1).await.is_up());
    for mode in WAYS {
        for _ in 0..2 {
            freeze(f, 1, mode).await;
            let now = seen(f, 1).await;
            assert!(sleeps(&now, mode), "{mode:?}: {now:?}");
            assert_eq!(now.asleep(mode), Some(mode), "{now:?}");
            assert_eq!(now.endpoints(), before.endpoints(), "{mode:?}");
        }
        for _ in 0..2 {
            wake(f, 1).await;
            assert_eq!(seen(f, 1).await, before, "{mode:?}");
        }
    }
    assert_eq!(seen(f, 2).await, other);
    f.clean(&[1, 2]).await;
}

/// A call that is given up leaves anything between nothing and all of it, now or a little later.
pub async fn half_asleep_goes_either_way(f: &Fixture<'_>) {
    let before = f.up(&f.spec(1, 3)).await;
    for mode in WAYS {
        for polls in 0..6 {
            let mut given_up = Box::pin(f.engine.freeze(&f.service, Release(1), mode));
            for _ in 0..polls {
                if given_up.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(given_up);
            freeze(f, 1, mode).await;
            let now = seen(f, 1).await;
            assert!(sleeps(&now, mode), "{mode:?}: {now:?}");
            let mut given_up = Box::pin(f.engine.wake(&f.service, Release(1), &Silent));
            for _ in 0..polls {
                if given_up.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(given_up);
            wake(f, 1).await;
            assert_eq!(seen(f, 1).await, before, "{mode:?}");
        }
    }
    f.clean(&[1]).await;
}

pub async fn what_sleeps_can_be_read_and_removed(f: &Fixture<'_>) {
    for mode in WAYS {
        let environment = f.up(&f.spec(1, 2)).await;
        freeze(f, 1, mode).await;
        for container in &environment.containers {
            f.engine.logs(&container.id, 5).await.unwrap();
            let found = f.engine.container(&container.id).await.unwrap().unwrap();
            assert_ne!(found.state, ContainerState::Running);
            let command = sample::words(&["x"]);
            let refused = f.engine.exec(&container.id, &command).await;
            assert!(refused.is_err(), "{mode:?}");
        }
        f.clean(&[1]).await;
        assert_eq!(f.engine.inspect(&f.service).await.unwrap(), []);
    }
}

pub async fn it_costs_what_it_holds(f: &Fixture<'_>) {
    let environment = f.up(&f.spec(1, 2)).await;
    let cost = f.engine.cost(&environment.containers, now()).await.unwrap();
    assert!(cost.memory > Some(0), "{cost:?}");
    assert!(cost.cpu > Some(0.0), "{cost:?}");
    assert!(cost.disk.is_some(), "{cost:?}");
    for mode in WAYS {
        freeze(f, 1, mode).await;
        let found = seen(f, 1).await;
        let idle = f.engine.cost(&found.containers, now()).await.unwrap();
        assert_eq!(idle.cpu, Some(0.0), "{mode:?}");
        let holds = mode == StandbyMode::Frozen;
        assert_eq!(idle.memory > Some(0), holds, "{mode:?}: {idle:?}");
        assert!(idle.disk.is_some(), "{mode:?}: {idle:?}");
    }
    f.clean(&[1]).await;
    let gone = f.engine.cost(&environment.containers, now()).await.unwrap();
    assert_eq!((gone.memory, gone.disk), (Some(0), Some(0)));
}
