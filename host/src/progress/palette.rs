//! The colours of the terminal display and how a user changes them (`BUILDKIT_COLORS`).

/// Ends every colour and style.
pub const RESET: &str = "\u{1b}[0m";
/// Begins faint text.
pub const FAINT: &str = "\u{1b}[2m";

/// A foreground colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// A colour of the terminal's own palette, by its SGR number.
    Named(u8),
    /// Red, green and blue, 0 to 255 each.
    Rgb(u8, u8, u8),
}

const NAMES: [(&str, u8); 9] = [
    ("default", 39),
    ("black", 30),
    ("red", 31),
    ("green", 32),
    ("yellow", 33),
    ("blue", 34),
    ("magenta", 35),
    ("cyan", 36),
    ("white", 37),
];
/// From a colour's SGR number to that of its light form.
const LIGHT: u8 = 60;

impl Colour {
    /// Yellow of the terminal's palette.
    pub const YELLOW: Self = Self::Named(33);
    const RED: Self = Self::Named(31);
    const BLUE: Self = Self::Named(34);
    const CYAN: Self = Self::Named(36);

    /// The escape code that switches the colour on.
    pub fn code(self) -> String {
        match self {
            Self::Named(number) => format!("\u{1b}[{number}m"),
            Self::Rgb(red, green, blue) => format!("\u{1b}[38;2;{red};{green};{blue}m"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.contains(',') {
            return Self::parse_rgb(text);
        }
        let named = |name: &str| NAMES.iter().find(|(known, _)| *known == name);
        match text.strip_prefix("light-") {
            Some("default") => None,
            Some(name) => named(name).map(|(_, number)| Self::Named(number + LIGHT)),
            None => named(text).map(|(_, number)| Self::Named(*number)),
        }
    }

    fn parse_rgb(text: &str) -> Option<Self> {
        let mut parts = text.split(',').map(|part| part.trim().parse::<u8>().ok());
        let colour = Self::Rgb(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(colour)
    }
}

/// Which colour each kind of row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Completed rows.
    pub run: Colour,
    /// Cancelled rows.
    pub cancel: Colour,
    /// Failed rows.
    pub error: Colour,
    /// Warnings; without a colour unless the user wants one, as it is with buildx.
    pub warning: Option<Colour>,
}

impl Default for Palette {
    fn default() -> Self {
        Self {
            // Blue is hard to read on the usual console there.
            run: if cfg!(windows) { Colour::CYAN } else { Colour::BLUE },
            cancel: Colour::YELLOW,
            error: Colour::RED,
            warning: None,
        }
    }
}

impl Palette {
    /// Reads `run=blue:cancel=yellow:error=red:warning=yellow`. Entries that cannot be read are skipped and returned,
    /// to be complained about.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut palette = Self::default();
        let mut bad = Vec::new();
        for entry in text.split(':').filter(|entry| !entry.is_empty()) {
            if palette.set(entry).is_none() {
                bad.push(entry.to_owned());
            }
        }
        (palette, bad)
    }

    fn set(&mut self, entry: &str) -> Option<()> {
        let (kind, colour) = entry.split_once('=')?;
        let colour = Colour::parse(colour.trim().to_ascii_lowercase().as_str())?;
        match kind.trim().to_ascii_lowercase().as_str() {
            "run" => self.run = colour,
            "cancel" => self.cancel = colour,
            "error" => self.error = colour,
            "warning" => self.warning = Some(colour),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_light_forms_and_numbers() {
        let (palette, bad) = Palette::parse("run=light-green:cancel=255,100,0:error=MAGENTA");
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(palette.run.code(), "\u{1b}[92m");
        assert_eq!(palette.cancel.code(), "\u{1b}[38;2;255;100;0m");
        assert_eq!(palette.error.code(), "\u{1b}[35m");
        assert_eq!(palette.warning, None);
    }

    #[test]
    fn bad_entries_are_skipped_and_named() {
        let (palette, bad) =
            Palette::parse("run=pink:nothing:other=red:cancel=1,2:error=1,2,300:warning=cyan");
        assert_eq!(
            bad,
            ["run=pink", "nothing", "other=red", "cancel=1,2", "error=1,2,300"]
        );
        assert_eq!(palette.run, Palette::default().run);
        assert_eq!(palette.warning, Some(Colour::CYAN));
    }
}
