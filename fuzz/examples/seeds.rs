//! `seeds TARGET DIRECTORY` writes a target's seeds into a directory; `seeds` alone lists the targets,
//! a line each: name, longest input, and 1 for those that a stranger on the network feeds.

use mainstem_fuzz::{TARGETS, seeds};
use std::path::Path;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(target), Some(directory)) = (arguments.next(), arguments.next()) else {
        for target in TARGETS {
            let exposed = u8::from(target.exposed);
            println!("{} {} {exposed}", target.name, target.input_bytes_max);
        }
        return Ok(());
    };
    std::fs::create_dir_all(&directory)?;
    for (index, seed) in seeds::of(&target).iter().enumerate() {
        std::fs::write(Path::new(&directory).join(format!("seed-{index:03}")), seed)?;
    }
    Ok(())
}
