//! The kernels' optimizers against dfdx's.

use dfdx::tensor::{Cpu, Gradients};

use super::{Forward, Fused, Leaf, Parameters, Part, Plan};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES, Images, PIXELS};
use crate::nn::network::PlanNetwork;
use crate::nn::{Network, NetworkError, NetworkState, Step};

/// The same gradients, but dfdx's updates.
struct OnlyGradients(Fused);

impl Plan<f32, Cpu> for OnlyGradients {
    fn leaves(&mut self, parameters: &Parameters<f32, Cpu>) -> Result<Vec<Leaf<f32, Cpu>>, NetworkError> {
        self.0.leaves(parameters)
    }

    fn forward(
        &mut self,
        leaves: &[Leaf<f32, Cpu>],
        part: &Part<Cpu>,
        gradients: Gradients<f32, Cpu>,
    ) -> Result<Forward<f32, Cpu>, NetworkError> {
        self.0.forward(leaves, part, gradients)
    }

    fn logits(
        &mut self,
        parameters: &Parameters<f32, Cpu>,
        batch: &Batch,
    ) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        self.0.logits(parameters, batch)
    }

    fn features(&mut self, parameters: &Parameters<f32, Cpu>, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError> {
        self.0.features(parameters, batch)
    }
}

fn trained(plan: impl Plan<f32, Cpu>, arch: &Arch, optimizer: &str, weight_decay: f64) -> NetworkState {
    let pixels = (0..20 * PIXELS).map(|i| (i * i % 251) as u8).collect();
    let batch = Batch::new(Images::new(pixels, (0..20).map(|i| i % 10).collect()).into(), (0..20).collect());
    let mut network = PlanNetwork::new(arch, Cpu::default(), plan, 1).expect("the CPU does not fail");
    for number in 0..3 {
        let step = Step {
            seed: 1,
            number,
            learning_rate: 1e-2,
            optimizer: optimizer.parse().expect("an optimizer"),
            weight_decay,
            dropout: 0.1,
            ..Step::default()
        };
        network.train(&batch, &step).expect("the CPU does not fail");
        // What was loaded for a look at the network must not be taken for the weights of the next step.
        network.logits(&batch).expect("the CPU does not fail");
    }
    network.state().expect("the CPU does not fail")
}

#[test]
fn updates_are_dfdx_updates_to_the_bit() {
    let arch: Arch = "conv9:3x3 bn relu pool2 flatten dropout dense10".parse().expect("an architecture");
    for optimizer in ["adam", "adamw", "sgd", "sgd:momentum=0.9", "sgd:momentum=0.9:nesterov", "rmsprop"] {
        for weight_decay in [0.0, 0.1] {
            let fused = trained(Fused::new(&arch, 2), &arch, optimizer, weight_decay);
            let dfdx = trained(OnlyGradients(Fused::new(&arch, 2)), &arch, optimizer, weight_decay);
            assert!(fused == dfdx, "{optimizer} with weight decay {weight_decay}");
        }
    }
}
