//! A terminal: permanent lines, and below them what is under way, cleared when it is over.
//!
//! The cursor is never hidden, so that there is nothing to restore, however the process ends. What
//! is over at once is never shown as under way: only acts that last draw rows.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::human::{Stamped, Style, Told, error_text};
use super::pump::{Out, Painter};
use super::track::{Row, Track};
use crate::core::names::Millis;
use crate::core::narrate::{Line, Tone};
use crate::core::words::{millis, wrap};

/// How long something must be under way before it is shown to be.
const LASTING_MS: Millis = 250;
/// Draws per second, at most.
const DRAWS: u8 = 10;
/// What tells a row from a line above the rows, where both are only written: it does nothing on a
/// terminal, and does not come to one.
const ROW: &str = "\x1b[m";

pub(super) struct Terminal {
    screen: Arc<Buffered>,
    style: Style,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    multi: MultiProgress,
    bars: Vec<(Shape, ProgressBar)>,
    track: Track,
    /// Since when something is under way, and what.
    busy: Option<(Millis, Option<String>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Head,
    Bar,
    Text,
}

impl Terminal {
    pub(super) fn new(
        out: Out,
        style: Style,
        width: Arc<dyn Fn() -> u16 + Send + Sync>,
        clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    ) -> Self {
        let screen = Arc::new(Buffered {
            out: Mutex::new((out, String::new())),
            cursor: Mutex::new(Cursor::Free),
            width,
        });
        let target = Handle(Arc::clone(&screen));
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(target), DRAWS);
        Self {
            screen,
            style,
            clock,
            multi: MultiProgress::with_draw_target(target),
            bars: Vec::new(),
            track: Track::default(),
            busy: None,
        }
    }

    fn clear(&mut self) {
        for (_, bar) in self.bars.drain(..) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }

    fn line(&self, at: Millis, line: &Line) -> String {
        let stamp = format!("{:>4}.{}s", at / 1000, at / 100 % 10);
        let margin = stamp.len() + 3;
        let room = usize::from((self.screen.width)()).saturating_sub(margin);
        let text = match line.tone {
            // Logs and commands are there to be copied: the terminal breaks them, and mends them.
            Tone::Detail if line.text.starts_with(' ') || line.text.contains("flipside ") => {
                line.text.clone()
            }
            _ => wrap(&line.text, room, 0).replace('\n', &format!("\n{}", " ".repeat(margin))),
        };
        let (stamp, mark, text) = match line.tone {
            Tone::Detail => (" ".repeat(stamp.len()), " ".into(), text),
            Tone::Step => (stamp, "·".into(), text),
            Tone::Good => (stamp, self.style.good("✓"), text),
            Tone::Warn => (stamp, self.style.warn("!"), self.style.warn(&text)),
            Tone::Bad => (stamp, self.style.bad("✗"), self.style.bad(&text)),
            Tone::Aside => (stamp, " ".into(), self.style.faint(&text)),
        };
        format!("{} {mark} {text}", self.style.faint(&stamp))
    }

    fn lines(&self, at: Millis, lines: &[Line]) {
        let lines: Vec<_> = lines.iter().map(|line| self.line(at, line)).collect();
        if lines.is_empty() {
            return;
        }
        if self.bars.is_empty() {
            self.screen.put(&(lines.join("\n") + "\n"));
        } else {
            // A stream that is broken is given up in silence.
            self.multi.println(lines.join("\n")).unwrap_or_default();
        }
    }

    /// Brings the bars to what is under way now.
    fn draw(&mut self, now: Millis) {
        let Some((since, doing)) = &self.busy else {
            return;
        };
        let lasts = now.saturating_sub(*since);
        if lasts < LASTING_MS {
            return;
        }
        let mut rows = self.track.rows();
        if let Some(doing) = doing {
            let text = match lasts / 1000 {
                0 => doing.clone(),
                s => format!("{doing}  {}", millis(s * 1000)),
            };
            rows.insert(0, Row { text, part: None });
        }
        let head = usize::from(doing.is_some());
        let shapes: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(number, row)| match row.part {
                _ if number < head => Shape::Head,
                Some(_) => Shape::Bar,
                None => Shape::Text,
            })
            .collect();
        if !shapes.iter().eq(self.bars.iter().map(|(shape, _)| shape)) {
            self.reshape(&shapes);
        }
        for ((_, bar), row) in self.bars.iter().zip(rows) {
            if let Some((done, total)) = row.part {
                bar.set_length(total);
                bar.set_position(done);
            }
            bar.set_message(row.text);
            bar.tick();
        }
    }

    /// Keeps the bars that have their shape already, so that only what changes is drawn anew.
    fn reshape(&mut self, shapes: &[Shape]) {
        let same = self
            .bars
            .iter()
            .zip(shapes)
            .take_while(|((old, _), new)| old == *new)
            .count();
        for (_, bar) in self.bars.drain(same..) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
        for shape in &shapes[same..] {
            let bar = self.multi.add(ProgressBar::no_length());
            bar.set_style(self.bar_style(*shape));
            self.bars.push((*shape, bar));
        }
    }

    fn bar_style(&self, shape: Shape) -> ProgressStyle {
        let template = match shape {
            Shape::Head => "      {spinner} {wide_msg}",
            Shape::Bar => "        [{bar:20}] {wide_msg}",
            Shape::Text => "        {wide_msg}",
        };
        ProgressStyle::with_template(&format!("{ROW}{template}"))
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .progress_chars("=> ")
            .tick_chars("-\\|/ ")
    }
}

impl Painter<Stamped> for Terminal {
    fn paint(&mut self, message: Stamped) {
        let at = message.at;
        match message.told {
            Told::Lines { lines, doing } => {
                let before = self.busy.as_ref().and_then(|(_, before)| before.as_ref());
                if before != doing.as_ref() || doing.is_none() {
                    self.clear();
                    self.track = Track::default();
                    self.busy = doing.map(|doing| (at, Some(doing)));
                }
                self.lines(at, &lines);
            }
            Told::Notes(lines) => self.lines(at, &lines),
            Told::Progress(step) => {
                self.busy.get_or_insert((at, None));
                self.track.take(step);
            }
            Told::Text(text) => {
                self.clear();
                // A question is not to be painted over while its answer is typed.
                if !text.is_empty() && !text.ends_with('\n') {
                    self.busy = None;
                }
                self.screen.put(&text);
            }
            Told::Error { message, hint } => {
                self.clear();
                let text = error_text(&message, hint.as_deref(), self.style);
                self.screen.put(&text);
            }
        }
    }

    fn tick(&mut self) {
        let now = (self.clock)();
        self.draw(now);
    }

    fn pause(&self) -> Duration {
        match self.busy {
            Some(_) => Duration::from_millis(100),
            None => Duration::from_secs(1),
        }
    }

    fn end(&mut self) {
        self.clear();
    }
}

/// Where a drawing has left the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    /// Where indicatif takes it to be.
    Free,
    /// At the right end of the last row, as indicatif leaves it.
    AtRow,
    /// Alone on the line below the rows.
    Below,
}

/// The terminal as indicatif wants it. A drawing is gathered and written at once, so that nothing
/// flickers. While rows are shown the cursor waits below them: what a terminal echoes of a Ctrl-C then
/// pushes none of them to where it is not cleared.
struct Buffered {
    out: Mutex<(Out, String)>,
    cursor: Mutex<Cursor>,
    width: Arc<dyn Fn() -> u16 + Send + Sync>,
}

impl Buffered {
    fn cursor(&self) -> std::sync::MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the cursor back to where indicatif has left it, and clears what was echoed meanwhile.
    fn come_back(&self) {
        if std::mem::replace(&mut *self.cursor(), Cursor::Free) == Cursor::Below {
            self.gather("\r\x1b[2K\x1b[1A");
        }
    }

    /// Lets the cursor wait below a row that was drawn last.
    fn wait_below(&self) {
        let mut cursor = self.cursor();
        if *cursor == Cursor::AtRow {
            *cursor = Cursor::Below;
            self.gather("\r\n");
        }
    }

    fn gather(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.1.push_str(text);
    }

    fn put(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, gathered) = &mut *out;
        gathered.push_str(text);
        out.write(gathered);
        gathered.clear();
    }
}

struct Handle(Arc<Buffered>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    fn go(&self, by: usize, letter: char) -> io::Result<()> {
        self.0.come_back();
        if by > 0 {
            self.0.gather(&format!("\x1b[{by}{letter}"));
        }
        Ok(())
    }
}

impl TermLike for Handle {
    fn width(&self) -> u16 {
        (self.0.width)()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.0.come_back();
        self.0.gather(s);
        self.0.gather("\r\n");
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        let at_row = *self.0.cursor() == Cursor::AtRow;
        self.0.come_back();
        let row = s.strip_prefix(ROW);
        self.0.gather(row.unwrap_or(s));
        // A row is filled up to the right end with blanks.
        if row.is_some() || at_row && s.trim_start_matches(' ').is_empty() {
            *self.0.cursor() = Cursor::AtRow;
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.come_back();
        self.0.gather("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.0.wait_below();
        self.0.put("");
        Ok(())
    }
}
