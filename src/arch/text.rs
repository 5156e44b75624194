//! Arch as text: parsing and printing.
