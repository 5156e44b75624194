//! How an answer is made of several: of more networks than one, or of a digit seen in several ways.

use clap::Args;

/// Whose answers are averaged; by itself the network's own, to the digit as it is.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Together {
    /// Answer together with the network of this session: the mean of the probabilities; several `--with` are several networks
    #[arg(long, value_name = "SESSION")]
    pub with: Vec<String>,
    /// Look at each digit N times, once as it is and else turned, shifted and zoomed a little, and take the mean
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub views: u16,
}

impl Default for Together {
    fn default() -> Self {
        Self { with: Vec::new(), views: 1 }
    }
}
