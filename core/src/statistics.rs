//! Figures that a user can read at any time, and the three ways to write them down.

use std::fmt::{self, Write};

/// Makes the structure and the list of its fields from one text.
macro_rules! statistics {
    ($($(#[doc = $help:literal])+ $kind:ident $name:ident,)+) => {
        /// What a registry holds and has done.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Statistics {
            $($(#[doc = $help])+ pub $name: u64,)+
        }

        impl Statistics {
            /// All of them, in the order of the fields.
            pub fn figures(&self) -> impl Iterator<Item = Figure> + Clone + use<> {
                [$(Figure {
                    name: stringify!($name),
                    help: concat!($($help),+).trim_ascii(),
                    kind: FigureKind::$kind,
                    value: self.$name,
                }),+].into_iter()
            }
        }
    };
}

statistics! {
    /// Entities registered now.
    Gauge live,
    /// Entities deregistered, and described to holders of counted references still.
    Gauge referenced,
    /// Entities deregistered whose payload has not been dropped yet. Never too few; one that another thread
    /// hands over just now may count twice.
    Gauge retired,
    /// The most entities that have been deregistered and not dropped at once, as seen when a thread handed some
    /// over and when figures were read. Never sinks.
    Gauge retired_peak,
    /// Entities whose payload has been dropped after its grace period.
    Counter reclaimed,
    /// Registrations of entities so far.
    Counter registered,
    /// Deregistrations of entities so far.
    Counter deregistered,
    /// Slots for entities whose generations are used up; never used again.
    Counter exhausted_slots,
    /// Chunks of slots for entities.
    Gauge chunks,
    /// Bytes of slots for entities, of indexes of ids and of journals of events.
    Gauge bytes,
    /// Bytes of the buckets of the indexes of ids.
    Gauge index_bytes,
    /// Routing tables, each an instance and a family.
    Gauge tables,
    /// Instances of routing tables.
    Gauge instances,
    /// Places for members, one for each thread or reader that is or has been one.
    Gauge members,
    /// Members (threads and readers) inside a read section.
    Gauge inside,
    /// Entities that are told events.
    Gauge listeners,
    /// Events handed out to entities so far.
    Counter events,
    /// Events handed out to entities so far that said that others were missed.
    Counter missed,
}

/// A member's part of the [`Statistics`], and of the slots. See
/// [`Registry::member_figures`](crate::Registry::member_figures).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberFigures {
    /// Whether a thread or reader is this member now, or the place waits for the next one.
    pub in_use: bool,
    /// The thread inside a read section: on x86-64 and AArch64 its `pthread_t`, which debuggers show.
    pub inside: Option<usize>,
    /// Registrations so far.
    pub registered: u64,
    /// Deregistrations so far.
    pub deregistered: u64,
    /// Slots that it may use next.
    pub free: u64,
    /// Entities that it deregistered and has not handed over for reclamation.
    pub retired: u64,
    /// Events that it handed out so far.
    pub events: u64,
}

/// How a [`Figure`] moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureKind {
    /// It only grows, as long as the registry lives.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One of the [`Statistics`], or one of your own to be written beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// In small letters, digits and underscores.
    pub name: &'static str,
    /// What it counts, in a sentence that says so without the other figures: Prometheus shows it alone.
    pub help: &'static str,
    /// How it moves.
    pub kind: FigureKind,
    /// Its value.
    pub value: u64,
}

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format<'a> {
    /// For people: a line each, name and value.
    Text,
    /// One JSON object in one line.
    Json,
    /// Prometheus' text exposition, version 0.0.4: names begin with `rtm_`, those of counters end with
    /// `_total`. Each figure has these labels, pairs of a name and any value; what a label's name must not
    /// contain is made an underscore, and so is an empty one. Names must differ also then, and must not begin
    /// with two underscores, which are Prometheus' own.
    Prometheus(&'a [(&'a str, &'a str)]),
}

impl Statistics {
    /// The figures as a text, which ends with the end of a line. [`Format::write`] needs no memory.
    pub fn render(&self, format: Format<'_>) -> String {
        let mut text = String::new();
        format.write(self.figures(), &mut text).expect("a string takes any text");
        text
    }
}

impl Format<'_> {
    /// Writes figures. Allocates nothing.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(
        self,
        figures: impl IntoIterator<Item = Figure>,
        out: &mut dyn Write,
    ) -> fmt::Result {
        match self {
            Format::Text => {
                for Figure { name, value, .. } in figures {
                    writeln!(out, "{name:<16} {value}")?;
                }
                Ok(())
            }
            Format::Json => {
                out.write_char('{')?;
                for (index, Figure { name, value, .. }) in figures.into_iter().enumerate() {
                    let before = if index == 0 { "" } else { "," };
                    write!(out, "{before}\"{name}\":{value}")?;
                }
                out.write_str("}\n")
            }
            Format::Prometheus(labels) => {
                figures.into_iter().try_for_each(|figure| exposition(figure, labels, out))
            }
        }
    }
}

fn exposition(figure: Figure, labels: &[(&str, &str)], out: &mut dyn Write) -> fmt::Result {
    let Figure { name, help, kind, value } = figure;
    let (suffix, kind) = match kind {
        FigureKind::Counter => ("_total", "counter"),
        FigureKind::Gauge => ("", "gauge"),
    };
    write!(out, "# HELP rtm_{name}{suffix} ")?;
    escape(help, &['\\', '\n'], out)?;
    write!(out, "\n# TYPE rtm_{name}{suffix} {kind}\nrtm_{name}{suffix}")?;
    for (index, (label, of)) in labels.iter().enumerate() {
        out.write_char(if index == 0 { '{' } else { ',' })?;
        if label.is_empty() {
            out.write_char('_')?;
        }
        for (place, letter) in label.chars().enumerate() {
            let fits = letter == '_'
                || letter.is_ascii_alphabetic()
                || place != 0 && letter.is_ascii_digit();
            out.write_char(if fits { letter } else { '_' })?;
        }
        out.write_str("=\"")?;
        escape(of, &['\\', '\n', '"'], out)?;
        out.write_char('"')?;
    }
    writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" })
}

/// Writes a text with a backslash before each of these letters.
fn escape(text: &str, letters: &[char], out: &mut dyn Write) -> fmt::Result {
    for letter in text.chars() {
        if letters.contains(&letter) {
            out.write_char('\\')?;
        }
        out.write_char(if letter == '\n' && letters.contains(&'\n') { 'n' } else { letter })?;
    }
    Ok(())
}
