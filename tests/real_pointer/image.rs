//! The proxy's own image: made whole or not at all, and gone with its proxy.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use flipside::docker::Client;
use flipside::pointer::proxy::take_down;

use super::kit::{FLIPSIDE, Rig, docker, inspect, ready};
use crate::real_bad_days::relay::Relay;

/// How often a first start is cut short.
const CUTS: u32 = 8;

/// How often an image is taken away.
const TAKEN: u32 = 3;

/// A rig whose program is like no other's, so that no image of it can be there.
struct Odd {
    rig: Rig,
    programs: tempfile::TempDir,
}

impl Odd {
    async fn new() -> Self {
        let programs = tempfile::tempdir().unwrap();
        let mut odd = Self {
            rig: Rig::new().await,
            programs,
        };
        odd.change();
        odd
    }

    /// Makes the program another one: what comes after an executable's end is not read.
    fn change(&mut self) {
        let number = getrandom::u64().unwrap();
        let path = self.programs.path().join(format!("{number:016x}"));
        std::fs::copy(FLIPSIDE, &path).unwrap();
        let mut program = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        program.write_all(&number.to_le_bytes()).unwrap();
        self.rig.site.image.binary = path;
    }
}

fn said(words: &[&str]) -> String {
    let output = docker(words);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The layer of the image that the rig's proxy runs.
fn layer_of(rig: &Rig) -> String {
    let image = inspect(rig.name(), "{{.Image}}");
    let form = "{{join .RootFS.Layers \" \"}}";
    let layers = said(&["image", "inspect", "--format", form, &image]);
    assert!(layers.starts_with("sha256:") && !layers.contains(' '));
    layers
}

/// Every image with a layer, steps of a build included: its id and its names.
fn images_with(layer: &str) -> Vec<String> {
    let all = said(&["images", "--all", "--quiet", "--no-trunc"]);
    let all: BTreeSet<_> = all.lines().collect();
    let form = "{{.Id}} {{json .RepoTags}} {{json .RootFS.Layers}}";
    let mut words = vec!["image", "inspect", "--format", form];
    words.extend(all);
    // One that has gone meanwhile is an error, and the others are told.
    let looked = said(&words);
    let found = looked.lines().filter(|image| image.contains(layer));
    found.map(str::to_owned).collect()
}

#[tokio::test]
async fn two_first_starts_at_once_make_one_image() {
    let odd = Odd::new().await;
    let (one, other) = (odd.rig.pointer(), odd.rig.pointer());
    let (first, second) = tokio::join!(ready(&one), ready(&other));
    assert_eq!((first, second), (Ok(()), Ok(())));
    let layer = layer_of(&odd.rig);
    let made = images_with(&layer);
    assert_eq!(made.len(), 1, "{made:?}");

    take_down(&odd.rig.site).await.unwrap();
    assert_eq!(images_with(&layer), [""; 0]);
}

#[tokio::test]
async fn a_first_start_that_is_cut_short_leaves_nothing_of_an_image() {
    let mut odd = Odd::new().await;
    let begun = Instant::now();
    ready(&odd.rig.pointer()).await.unwrap();
    let took = begun.elapsed();
    let mut layers = Vec::new();
    for n in 0..CUTS {
        take_down(&odd.rig.site).await.unwrap();
        odd.change();
        let pointer = odd.rig.pointer();
        let moment = took * n / CUTS;
        let cut = tokio::time::timeout(moment, ready(&pointer)).await;
        drop(cut);
        // What is there whole is used by the next start.
        ready(&odd.rig.pointer()).await.unwrap();
        let layer = layer_of(&odd.rig);
        let made = images_with(&layer);
        assert_eq!(made.len(), 1, "cut short after {moment:?}: {made:?}");
        layers.push(layer);
    }
    take_down(&odd.rig.site).await.unwrap();
    for layer in layers {
        assert_eq!(images_with(&layer), [""; 0]);
    }
}

#[tokio::test]
async fn one_that_has_lost_its_name_goes_with_its_proxy() {
    let odd = Odd::new().await;
    ready(&odd.rig.pointer()).await.unwrap();
    let layer = layer_of(&odd.rig);
    let name = inspect(odd.rig.name(), "{{.Config.Image}}");
    said(&["rmi", "--force", &name]);
    let found = images_with(&layer);
    assert!(found.len() == 1 && !found[0].contains(&name), "{found:?}");
    take_down(&odd.rig.site).await.unwrap();
    assert_eq!(images_with(&layer), [""; 0]);
}

/// Another proxy of the same program that goes takes the image with it: here before each question
/// that comes after the loading.
#[tokio::test]
async fn one_that_is_taken_away_while_it_is_made_is_made_again() {
    let mut odd = Odd::new().await;
    let taken = Arc::new(AtomicU32::new(0));
    let (count, image) = (Arc::clone(&taken), Mutex::new(String::new()));
    let socket = odd.programs.path().join("engine.sock");
    let _engine = Relay::with(
        &socket,
        odd.rig
            .site
            .docker
            .address()
            .trim_start_matches("unix://")
            .as_ref(),
        Arc::new(move |said| {
            let mut image = image.lock().unwrap();
            if let Some((_, asked)) = said.split_once("/images/flipside-proxy:") {
                let (tag, _) = asked.split_once("/json").unwrap();
                *image = format!("flipside-proxy:{tag}");
            } else if !said.contains("/volumes/create") {
                return said;
            }
            if count.load(Ordering::Relaxed) < TAKEN && docker(&["rmi", &image]).status.success() {
                count.fetch_add(1, Ordering::Relaxed);
            }
            said
        }),
        Arc::new(|said| said),
    );
    let through = format!("unix://{}", socket.display());
    odd.rig.site.docker = Client::connect(Some(&through)).await.unwrap();
    ready(&odd.rig.pointer()).await.unwrap();
    assert_eq!(taken.load(Ordering::Relaxed), TAKEN);
}
