//! Pictures in the terminal: kitty, iTerm or sixel graphics where it has them, else half blocks.

use image::DynamicImage;

use crate::{
    failure::{Failure, exit},
    terminal::Terminal,
};

/// Half blocks need this many columns at most; more would fill the screen.
const MAX_COLUMNS: u32 = 64;

/// Draws a finished picture's file below the cursor.
pub(crate) fn picture(terminal: &Terminal, bytes: &[u8]) -> Result<(), Failure> {
    if !terminal.draws_pictures() {
        terminal.warn("--show needs a terminal on standard output; the picture is not shown");
        return Ok(());
    }
    let picture = image::load_from_memory(bytes)
        .map_err(|error| Failure::new(exit::FAILED, format!("cannot show the picture: {error}")))?;
    print(&picture, MAX_COLUMNS).map(|_rows| ())
}

/// A preview that is drawn over and over in the same place.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    /// Rows that the last drawing took.
    rows: u32,
}

impl Preview {
    /// Draws a preview's PNG over the last one.
    pub(crate) fn draw(&mut self, png: &[u8]) -> Result<(), Failure> {
        // A preview that cannot be read is no reason to end the work.
        let Ok(picture) = image::load_from_memory(png) else {
            return Ok(());
        };
        self.erase()?;
        self.rows = print(&picture, MAX_COLUMNS / 2)?;
        Ok(())
    }

    /// Takes the last drawing away.
    pub(crate) fn erase(&mut self) -> Result<(), Failure> {
        use std::io::Write as _;
        if self.rows > 0 {
            let mut stdout = std::io::stdout().lock();
            write!(stdout, "\x1b[{}A\r\x1b[J", self.rows)
                .and_then(|()| stdout.flush())
                .map_err(|error| Failure::stdout(&error))?;
            self.rows = 0;
        }
        Ok(())
    }
}

/// Prints a picture and returns the rows it took.
fn print(picture: &DynamicImage, max_columns: u32) -> Result<u32, Failure> {
    let config = viuer::Config {
        absolute_offset: false,
        // A pixel to a column where graphics are missing; a wide terminal does not stretch it.
        width: (picture.width() > max_columns).then_some(max_columns),
        ..viuer::Config::default()
    };
    match viuer::print(picture, &config) {
        Ok((_columns, rows)) => Ok(rows),
        Err(viuer::ViuError::Io(error)) => Err(Failure::stdout(&error)),
        Err(error) => Err(Failure::new(
            exit::FAILED,
            format!("cannot show the picture: {error}"),
        )),
    }
}
