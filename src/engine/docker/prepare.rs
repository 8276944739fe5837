//! Resolving, pulling and building the image of every role, and pinning it to an id of the engine.

use std::collections::HashMap;
use std::path::Path;

use bollard::auth::DockerCredentials;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{BuildImageOptions, CreateImageOptions};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::context;
use super::credentials::{self, Reference};
use super::platform::Platform;
use super::{Docker, demands, files, names, shared};
use crate::core::dockerfile::{self, Bases};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::{Build, ImageSource, Pull, Role, Run};
use crate::core::progress::{Progress, Sink};
use crate::docker::{found, refused, refused_hint, tar_stream, way_out};
use crate::engine::{EngineError, Images, Spec};

/// How many images are pulled or built at a time.
const AT_A_TIME: usize = 4;

/// An image that some roles share.
struct Job<'a> {
    source: &'a ImageSource,
    pull: Pull,
    platform: Option<&'a str>,
    roles: Vec<&'a RoleName>,
}

/// See [`crate::engine::Engine::prepare`].
pub(super) async fn prepare(
    engine: &Docker,
    spec: &Spec,
    sink: &dyn Sink,
) -> Result<Images, EngineError> {
    files::check(&spec.plan)?;
    demands::check(&spec.plan, engine.client.api()).map_err(EngineError::Failed)?;
    let absent = shared::absent(engine, &spec.plan).await?;
    let absent = absent
        .iter()
        .filter_map(|name| spec.plan.shared.get_key_value(name));
    let of_release = spec.plan.roles.iter();
    let of_release = of_release.filter(|(_, role)| role.run != Run::Never);
    let roles: Vec<_> = of_release.chain(absent).collect();
    images(engine, &spec.plan.service, &roles, sink).await
}

/// The pinned images of `roles`.
pub(super) async fn images(
    engine: &Docker,
    service: &ServiceName,
    roles: &[(&RoleName, &Role)],
    sink: &dyn Sink,
) -> Result<Images, EngineError> {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (name, role) in roles {
        let platform = role.platform.as_deref();
        let same = |job: &&mut Job<'_>| {
            *job.source == role.image && job.pull == role.pull && job.platform == platform
        };
        match jobs.iter_mut().find(same) {
            Some(job) => job.roles.push(name),
            None => jobs.push(Job {
                source: &role.image,
                pull: role.pull,
                platform,
                roles: vec![name],
            }),
        }
    }
    let pinning: Vec<_> = jobs
        .iter()
        .map(|job| pin(engine, service, job, sink))
        .collect();
    let images: Vec<_> = stream::iter(pinning)
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    let pinned = images
        .into_iter()
        .flat_map(|(roles, image): (Vec<RoleName>, String)| {
            roles.into_iter().map(move |role| (role, image.clone()))
        });
    Ok(pinned.collect())
}

async fn pin(
    engine: &Docker,
    service: &ServiceName,
    job: &Job<'_>,
    sink: &dyn Sink,
) -> Result<(Vec<RoleName>, String), EngineError> {
    let image = match job.source {
        ImageSource::Pull(reference) => resolve(engine, job, reference, sink).await?,
        ImageSource::Build(plan) => {
            let id = build(engine, service, job, plan, sink).await?;
            built(engine, job, &id).await?
        }
    };
    Ok((job.roles.iter().copied().cloned().collect(), image))
}

/// The id of what was built, if it is of the platform that was asked for.
async fn built(engine: &Docker, job: &Job<'_>, id: &str) -> Result<String, EngineError> {
    match local(engine, id, job.platform).await? {
        Some(Found::Fits(id)) => Ok(id),
        Some(Found::Of(has)) => {
            let (role, wanted) = (job.roles[0], job.platform.unwrap_or_default());
            Err(refused_hint(
                format!("role `{role}`: what was built is of {has}, and `platform:` says {wanted}"),
                format!(
                    "name images of that platform under `FROM`, or take `platform:` away from `{role}`"
                ),
            ))
        }
        None => Err(refused(format!(
            "`{id}` was built and is not on the engine"
        ))),
    }
}

/// An image on the engine.
enum Found {
    /// Its id.
    Fits(String),
    /// Of another platform than was asked for: of which.
    Of(Platform),
}

/// An image on the engine; `None` where it is not there.
async fn local(
    engine: &Docker,
    reference: &str,
    platform: Option<&str>,
) -> Result<Option<Found>, EngineError> {
    let client = &engine.client;
    let answer = found(client.docker.inspect_image(reference).await);
    let image = answer.map_err(|error| client.fault(error))?;
    Ok(image.and_then(|image| fit(image, platform)))
}

fn fit(image: ImageInspect, platform: Option<&str>) -> Option<Found> {
    let has = Platform::of(&image);
    match platform.map(Platform::parse) {
        Some(wanted) if !has.serves(&wanted) => Some(Found::Of(has)),
        _ => image.id.map(Found::Fits),
    }
}

async fn resolve(
    engine: &Docker,
    job: &Job<'_>,
    reference: &str,
    sink: &dyn Sink,
) -> Result<String, EngineError> {
    let role = job.roles[0];
    let of_another = |has: &Platform| {
        let wanted = job.platform.unwrap_or_default();
        format!(
            "role `{role}`: the image `{reference}` on the engine is of {has}, and `platform:` says \
             {wanted}"
        )
    };
    let mut there = None;
    if job.pull != Pull::Always {
        match local(engine, reference, job.platform).await? {
            Some(Found::Fits(id)) => return Ok(id),
            Some(Found::Of(has)) => there = Some(has),
            None => {}
        }
    }
    match (job.pull, &there) {
        (Pull::Never, None) => {
            return Err(refused_hint(
                format!(
                    "role `{role}`: the image `{reference}` is not on the engine, and `pull_policy: never` forbids pulling it"
                ),
                format!(
                    "`docker load` or `docker build` it there, or take `pull_policy:` away from `{role}`"
                ),
            ));
        }
        (Pull::Never, Some(has)) => {
            return Err(refused_hint(
                format!(
                    "{}; `pull_policy: never` forbids pulling another",
                    of_another(has)
                ),
                format!(
                    "`docker load` one of that platform there, or take `platform:` away from `{role}`"
                ),
            ));
        }
        (Pull::Missing | Pull::Always, _) => {}
    }
    let pulled = pull(engine, job, reference, sink).await;
    pulled.map_err(|error| match (error, &there) {
        (EngineError::Failed(mut failure), Some(has)) => {
            failure.what = format!("{}; {}", of_another(has), failure.what);
            EngineError::Failed(failure)
        }
        (error, _) => error,
    })?;
    match local(engine, reference, job.platform).await? {
        Some(Found::Fits(id)) => Ok(id),
        Some(Found::Of(has)) => Err(refused_hint(
            of_another(&has),
            format!("name an image that there is for it, or take `platform:` away from `{role}`"),
        )),
        None => Err(refused(format!(
            "`{reference}` was pulled and is not on the engine"
        ))),
    }
}

async fn pull(
    engine: &Docker,
    job: &Job<'_>,
    text: &str,
    sink: &dyn Sink,
) -> Result<(), EngineError> {
    let reference = Reference::new(text);
    let login = credentials::find(&reference.registry).await?;
    let options = CreateImageOptions {
        from_image: Some(reference.name.clone()),
        tag: Some(reference.tag.clone()),
        platform: job.platform.unwrap_or_default().to_owned(),
        ..CreateImageOptions::default()
    };
    let client = &engine.client;
    let known = login.is_some();
    let mut answers = Box::pin(client.docker.create_image(Some(options), None, login));
    let mut layers = Layers::default();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(info) => {
                if let Some((done, total)) = layers.take(info) {
                    sink.progress(Progress::Pull {
                        image: text.to_owned(),
                        done,
                        total,
                    });
                }
            }
            Err(error) => {
                return Err(match client.fault(error) {
                    EngineError::Failed(failure) => {
                        let (what, hint) = pull_words(text, &reference, &failure.what, known);
                        refused_hint(format!("role `{}`: {what}", job.roles[0]), hint)
                    }
                    other => other,
                });
            }
        }
    }
    Ok(())
}

/// What the engine said of a pull that failed, and what mends it.
fn pull_words(text: &str, reference: &Reference, said: &str, known: bool) -> (String, String) {
    let registry = &reference.registry;
    let lower = said.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["manifest unknown", "not found: manifest", "manifest for"]) {
        let what = format!("the image `{text}` does not exist");
        return (what, "name a tag that has been pushed".into());
    }
    if has(&[
        "denied",
        "unauthorized",
        "authentication required",
        "no basic auth",
    ]) {
        let what =
            format!("the registry `{registry}` refuses `{text}`, or has no such image: {said}");
        let hint = match known {
            true => format!("its credentials were sent; `docker login {registry}` renews them"),
            false => format!("no credentials are known; `docker login {registry}` gives some"),
        };
        return (what, hint);
    }
    if has(&[
        "no such host",
        "server misbehaving",
        "dial tcp",
        "connection refused",
        "timeout",
    ]) {
        let what = format!("the registry `{registry}` cannot be reached by the engine: {said}");
        let hint = "check its name and the engine's network, or load the image beforehand";
        return (what, hint.into());
    }
    let what = format!("the image `{text}` cannot be pulled: {said}");
    if let Some(mend) = way_out(said) {
        return (what, mend);
    }
    (
        what,
        format!("try `docker pull {text}` on the engine's host"),
    )
}

/// Bytes of the layers that are being pulled.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    /// The sums, where an answer has changed them.
    fn take(&mut self, info: CreateImageInfo) -> Option<(u64, u64)> {
        let id = info.id?;
        let layer = self.0.entry(id).or_default();
        match info.status.as_deref()? {
            "Downloading" => {
                let detail = info.progress_detail?;
                let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
                let done = count(detail.current).unwrap_or_default();
                *layer = (done, count(detail.total).unwrap_or(layer.1).max(done));
            }
            "Download complete" | "Pull complete" => layer.0 = layer.1,
            _ => return None,
        }
        let sum = |(done, total): (u64, u64), layer: &(u64, u64)| (done + layer.0, total + layer.1);
        Some(self.0.values().fold((0, 0), sum))
    }
}

async fn build(
    engine: &Docker,
    service: &ServiceName,
    job: &Job<'_>,
    plan: &Build,
    sink: &dyn Sink,
) -> Result<String, EngineError> {
    let role = job.roles[0];
    let file = plan.dockerfile.trim_start_matches("./");
    if Path::new(file).is_absolute() || Path::new(file).starts_with("..") {
        return Err(refused_hint(
            format!(
                "role `{role}`: the Dockerfile `{file}` lies outside the build context `{}`",
                plan.context.display()
            ),
            "widen the context, or move the Dockerfile into it",
        ));
    }
    let path = plan.context.join(file);
    let text = tokio::fs::read_to_string(&path)
        .await
        .map_err(|error| refused(format!("role `{role}`: `{}`: {error}", path.display())))?;
    if let Some((line, construct)) = dockerfile::needs_buildkit(&text) {
        let file = path.display();
        return Err(refused_hint(
            format!("{file}:{line}: `{construct}` needs BuildKit, which flipside does not use"),
            dockerfile::WITHOUT_BUILDKIT,
        ));
    }
    let ignored = match tokio::fs::read_to_string(plan.context.join(context::IGNORE_FILE)).await {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(refused(format!("role `{role}`: `.dockerignore`: {error}"))),
    };
    let step = names::of_service(service, names::Kind::Step);
    let mut step: Vec<_> = step.iter().map(|(key, value)| (&**key, &**value)).collect();
    step.sort_unstable();
    let labelled = dockerfile::labelled(&text, &step);
    let (context, sent) = (plan.context.clone(), labelled.text.clone());
    let tar = tar_stream(move |tar| context::append(tar, &context, ignored.as_deref(), &sent));
    let options = options(plan, job.pull, job.platform);
    let logins = logins(&dockerfile::bases(&text, &plan.args)).await?;
    let each = |line: &str| {
        sink.progress(Progress::Build {
            role: role.to_string(),
            line: line.to_owned(),
        });
    };
    let built = engine
        .client
        .build(role.as_str(), options, logins, tar, each);
    built.await.map_err(|error| match error {
        EngineError::Failed(mut failure) => {
            failure.what = labelled.in_the_original(&failure.what);
            EngineError::Failed(failure)
        }
        other => other,
    })
}

/// What the builder is told; `pull_policy: always` is about the images that stages start from.
fn options(plan: &Build, policy: Pull, platform: Option<&str>) -> BuildImageOptions {
    let args = plan.args.iter();
    let kind = names::Kind::Image.as_str();
    BuildImageOptions {
        dockerfile: context::DOCKERFILE.to_owned(),
        t: plan.tag.clone(),
        rm: true,
        forcerm: true,
        pull: (policy == Pull::Always).then(|| "1".into()),
        buildargs: Some(
            args.map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect(),
        ),
        // The rest are those that its last stage began with.
        labels: Some(HashMap::from([(names::KIND.to_owned(), kind.to_owned())])),
        target: plan.target.clone().unwrap_or_default(),
        platform: platform.unwrap_or_default().to_owned(),
        ..BuildImageOptions::default()
    }
}

/// Credentials for the registries that a build takes images from: all that are known, where only the
/// builder can tell which those are.
async fn logins(bases: &Bases) -> Result<Option<HashMap<String, DockerCredentials>>, EngineError> {
    let mut logins = match bases.others {
        true => credentials::all().await?,
        false => HashMap::new(),
    };
    for base in &bases.images {
        let registry = Reference::new(base).registry;
        if let Some(login) = credentials::find(&registry).await? {
            let key = login.serveraddress.clone().unwrap_or(registry);
            logins.insert(key, login);
        }
    }
    Ok((!logins.is_empty()).then_some(logins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_pulls_its_bases_anew_where_the_plan_says_always() {
        let plan = Build {
            context: "/src".into(),
            dockerfile: "Dockerfile".into(),
            args: Default::default(),
            target: None,
            tag: None,
        };
        let pull = |policy| options(&plan, policy, None).pull;
        assert_eq!(pull(Pull::Always).as_deref(), Some("1"));
        assert_eq!(pull(Pull::Missing), None);
    }

    #[test]
    fn a_failed_pull_is_said_in_words() {
        let text = "reg.example/web:9";
        let reference = Reference::new(text);
        let words = |said: &str| pull_words(text, &reference, said, false);
        let (what, _) = words("manifest for reg.example/web:9 not found: manifest unknown");
        assert!(what.contains("does not exist"), "{what}");
        let (what, hint) = words(
            "pull access denied for x, repository does not exist or may require 'docker login'",
        );
        assert!(what.contains("refuses"), "{what}");
        assert!(hint.contains("docker login reg.example"), "{hint}");
        let (what, _) =
            words("Get https://reg.example/v2/: dial tcp: lookup reg.example: no such host");
        assert!(what.contains("cannot be reached"), "{what}");
        let (what, hint) = words("write /x: no space left on device");
        assert!(what.contains("cannot be pulled"), "{what}");
        assert!(hint.contains("docker system df"), "{hint}");
    }
}
