//! The dashboard: a terminal screen that shows the lab's state and sends it commands.

pub mod graphics;
pub mod keymap;
pub mod message;
pub mod panes;
pub mod theme;
