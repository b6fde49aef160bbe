//! Self-contained pages and pictures of figures: XHTML-compatible, without scripts and without references to
//! anything outside, light or dark as the reader has it, printable.
//!
//! quick-xml writes the markup, so that elements are closed and text is escaped. The charts are our own:
//! those of plotters carry their colours in each element and cannot follow the reader's colour scheme.

pub mod chart;
pub mod machine;

use quick_xml::Writer;
use quick_xml::events::{BytesStart, BytesText, Event};
use std::fmt::Display;

/// Attributes of an element.
pub type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

/// Markup in the making.
pub struct Markup(Writer<Vec<u8>>);

/// A length, written shortly.
#[derive(Clone, Copy)]
pub struct Length(pub f64);

impl Display for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1}", self.0)
    }
}

impl Markup {
    /// Nothing yet.
    pub fn new() -> Self {
        Markup(Writer::new(Vec::new()))
    }

    fn event(&mut self, event: Event<'_>) {
        self.0.write_event(event).expect("a vector takes everything");
    }

    fn start<'a>(name: &'a str, attributes: Attributes<'_>) -> BytesStart<'a> {
        let mut start = BytesStart::new(name);
        for (key, value) in attributes {
            start.push_attribute((*key, plain(&value.to_string()).as_str()));
        }
        start
    }

    /// An element.
    pub fn element(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        let start = Self::start(name, attributes);
        self.event(Event::Start(start.borrow()));
        inside(self);
        self.event(Event::End(start.to_end()));
    }

    /// An element that can have nothing inside (in HTML, not every one that happens to be empty).
    pub fn empty(&mut self, name: &str, attributes: Attributes<'_>) {
        self.event(Event::Empty(Self::start(name, attributes)));
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        self.event(Event::Text(BytesText::new(&plain(text))));
    }

    /// An element with text inside.
    pub fn leaf(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.element(name, attributes, |inside| inside.text(text));
    }

    /// A table whose columns after the first are figures.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.element("div", &[("class", &"wide")], |out| {
            out.element("table", &[], |out| {
                out.element("thead", &[], |out| {
                    out.element("tr", &[], |out| {
                        head.iter().for_each(|cell| out.leaf("th", &[], cell))
                    });
                });
                out.element("tbody", &[], |out| {
                    for row in rows {
                        out.element("tr", &[], |out| {
                            row.iter().for_each(|cell| out.leaf("td", &[], cell))
                        });
                    }
                });
            });
        });
    }

    /// All of it.
    pub fn finish(self) -> String {
        String::from_utf8(self.0.into_inner()).expect("made of strings")
    }
}

impl Default for Markup {
    fn default() -> Self {
        Markup::new()
    }
}

/// Without the control characters that XML cannot hold.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

const COLOURS: &str = include_str!("colours.css");
const STYLE: &str = include_str!("page.css");

/// A page.
pub fn page(title: &str, body: impl FnOnce(&mut Markup)) -> String {
    let mut out = Markup::new();
    out.element("html", &[("lang", &"en")], |out| {
        out.element("head", &[], |out| {
            out.empty("meta", &[("charset", &"utf-8")]);
            let scale = "width=device-width, initial-scale=1";
            out.empty("meta", &[("name", &"viewport"), ("content", &scale)]);
            out.empty("meta", &[("name", &"color-scheme"), ("content", &"light dark")]);
            out.leaf("title", &[], title);
            out.leaf("style", &[], &format!("{COLOURS}{STYLE}"));
        });
        out.element("body", &[], |out| {
            out.leaf("h1", &[], title);
            body(out);
        });
    });
    format!("<!DOCTYPE html>\n{}\n", out.finish())
}

/// A picture that stands alone, with a ground of its own.
pub fn picture(width: f64, height: f64, title: &str, inside: impl FnOnce(&mut Markup)) -> String {
    let mut out = Markup::new();
    let view = format!("0 0 {} {}", Length(width), Length(height));
    let attributes: Attributes<'_> = &[
        ("xmlns", &"http://www.w3.org/2000/svg"),
        ("viewBox", &view),
        ("width", &Length(width)),
        ("height", &Length(height)),
        ("role", &"img"),
    ];
    out.element("svg", attributes, |out| {
        out.leaf("title", &[], title);
        out.leaf("style", &[], COLOURS);
        let ground: Attributes<'_> = &[
            ("class", &"ground"),
            ("width", &Length(width)),
            ("height", &Length(height)),
            ("rx", &8),
        ];
        out.empty("rect", ground);
        inside(out);
    });
    format!("{}\n", out.finish())
}

/// A figure as people read it: three digits that count, thousands apart.
pub fn figure(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        size if size >= 999.5 => grouped(value.round() as u64),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a reader sees of a page or picture, which must be well-formed, stand alone, and draw nothing at a
    /// place that is no number.
    pub(crate) struct Read(Vec<String>);

    impl Read {
        pub(crate) fn new(text: &str) -> Read {
            let text = text.strip_prefix("<!DOCTYPE html>").unwrap_or(text);
            let parsed = roxmltree::Document::parse(text).expect("well-formed");
            for node in parsed.descendants().filter(roxmltree::Node::is_element) {
                let name = node.tag_name().name();
                assert!(
                    !["script", "link", "img", "image", "use", "iframe"].contains(&name),
                    "{name}"
                );
                for attribute in node.attributes() {
                    let (key, value) = (attribute.name(), attribute.value());
                    assert!(!["href", "src", "xlink:href"].contains(&key), "{key}");
                    assert!(!value.contains("http") && !value.contains("url("), "{value}");
                    assert!(
                        !value.contains("NaN") && !value.contains("inf"),
                        "{name} {key}: {value}"
                    );
                }
                let void = ["meta", "rect", "line", "circle", "polyline"].contains(&name);
                // Else an HTML reader would take what follows to be inside.
                assert!(
                    void || node.has_children() || !text.contains(&format!("<{name}/>")),
                    "{name}"
                );
            }
            let texts = parsed.descendants().filter(roxmltree::Node::is_text);
            let texts: Vec<String> =
                texts.filter_map(|node| node.text().map(str::to_owned)).collect();
            let style = texts.iter().find(|text| text.contains("--ours")).expect("a style");
            assert!(!["http", "url(", "@import"].iter().any(|word| style.contains(word)));
            assert!(!texts.iter().any(|text| text.contains("NaN") || text.contains("inf ")));
            Read(texts)
        }

        /// Whether a text is this, or has it between other words.
        pub(crate) fn says(&self, what: &str) -> bool {
            let inner = |c: char| c.is_alphanumeric() || c == '.' || c == ',';
            self.0.iter().any(|text| {
                text.match_indices(what).any(|(at, _)| {
                    let before = text[..at].chars().next_back();
                    let mut after = text[at + what.len()..].chars();
                    let next = after.next();
                    let dot = matches!(next, Some('.' | ','))
                        && !after.next().is_some_and(char::is_numeric);
                    !before.is_some_and(inner) && (!next.is_some_and(inner) || dot)
                })
            })
        }
    }

    #[test]
    fn text_is_escaped() {
        let page = page("<a> & \"b\" \u{1}", |out| {
            out.leaf("p", &[("title", &"\"<'&>")], "</p><script>");
        });
        let page = page.strip_prefix("<!DOCTYPE html>").expect("its type");
        let parsed = roxmltree::Document::parse(page).expect("well-formed");
        let p = parsed.descendants().find(|node| node.has_tag_name("p")).expect("a paragraph");
        assert_eq!(p.text(), Some("</p><script>"));
        assert_eq!(p.attribute("title"), Some("\"<'&>"));
        let title = parsed.descendants().find(|node| node.has_tag_name("title"));
        assert_eq!(title.and_then(|node| node.text()), Some("<a> & \"b\" \u{fffd}"));
    }

    /// Style sheets are not escaped text to an HTML reader.
    #[test]
    fn style_needs_no_escape() {
        assert!(![COLOURS, STYLE].concat().contains(['<', '>', '&', '"', '\'']));
    }

    #[test]
    fn figures_are_short() {
        let all = [0.0, 0.826, 9.996, 12.34, 99.96, 999.4, 999.6, 1_234_567.4, f64::NAN];
        let texts = ["0.00", "0.83", "10.0", "12.3", "100", "999", "1,000", "1,234,567", "–"];
        assert_eq!(all.map(figure), texts);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
