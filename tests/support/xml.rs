//! As much XML as AWS's own clients write.

/// An element: text, or others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The whole of a document.
    pub fn read(text: &str) -> Self {
        let begin = match text.starts_with("<?") {
            true => text.find("?>").unwrap() + 2,
            false => 0,
        };
        let mut rest = text[begin..].trim_start();
        element(&mut rest)
    }

    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn child_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    /// The text of a child.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    pub fn write(&self) -> String {
        let inner: String = self.children.iter().map(Self::write).collect();
        format!("<{0}>{1}{inner}</{0}>", self.name, escaped(&self.text))
    }
}

pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn plain(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

fn element(rest: &mut &str) -> Element {
    let (tag, after) = rest[1..].split_once('>').unwrap();
    *rest = after;
    let name = tag
        .split(' ')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let (mut text, mut children) = (String::new(), Vec::new());
    while !tag.ends_with('/') {
        let next = rest.find('<').unwrap();
        text += &plain(&rest[..next]);
        *rest = &rest[next..];
        if rest.starts_with("</") {
            *rest = rest.split_once('>').unwrap().1;
            break;
        }
        children.push(element(rest));
    }
    Element {
        name,
        text,
        children,
    }
}
