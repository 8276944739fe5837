//! Which platform an image is of, and whether that is the one a plan asks for.

use bollard::models::ImageInspect;

/// `OS/ARCHITECTURE[/VARIANT]`, each part empty where nothing is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

impl Platform {
    /// Reads `linux/arm64/v8`, and what people write for it.
    pub(super) fn parse(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let mut parts = lower.splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        let (first, second, third) = (next(), next(), next());
        let is_os = ["linux", "windows"].contains(&first) || !second.is_empty();
        match is_os {
            true => Self::new(first, second, third),
            false => Self::new("", first, ""),
        }
    }

    /// What the engine says of an image.
    pub(super) fn of(image: &ImageInspect) -> Self {
        let text = |said: &Option<String>| said.clone().unwrap_or_default().to_ascii_lowercase();
        let (os, architecture) = (text(&image.os), text(&image.architecture));
        Self::new(&os, &architecture, &text(&image.variant))
    }

    fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "v8" | "8") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("i386", variant) => ("386", variant),
            other => other,
        };
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// Whether this may be had for `wanted`: what neither or only one of them says is no difference.
    pub(super) fn serves(&self, wanted: &Self) -> bool {
        let same = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
        same(&self.os, &wanted.os)
            && same(&self.architecture, &wanted.architecture)
            && same(&self.variant, &wanted.variant)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [&self.os, &self.architecture, &self.variant];
        let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        for (index, part) in said.iter().enumerate() {
            let gap = if index == 0 { "" } else { "/" };
            write!(f, "{gap}{part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_known_by_every_name_it_has() {
        let check = |has: &str, wanted: &str, serves: bool| {
            let (has, wanted) = (Platform::parse(has), Platform::parse(wanted));
            assert_eq!(has.serves(&wanted), serves, "{has} for {wanted}");
        };
        check("linux/amd64", "linux/amd64", true);
        check("linux/amd64", "linux/x86_64", true);
        check("linux/amd64", "amd64", true);
        check("linux/amd64", "linux", true);
        check("linux/arm64", "linux/arm64/v8", true);
        check("linux/arm64", "aarch64", true);
        check("linux/arm", "linux/arm/v7", true);
        check("linux/amd64", "linux/arm64", false);
        check("linux/arm/v6", "linux/arm/v7", false);
        check("windows/amd64", "linux/amd64", false);
        assert_eq!(
            Platform::parse("Linux/AArch64/v8").to_string(),
            "linux/arm64"
        );
    }
}
