use dfdx::tensor::{Cpu, Gradients};
use mnist_lab::arch::Arch;
use mnist_lab::data::{Batch, CLASSES, Images, PIXELS};
use mnist_lab::nn::{
    Step,
    fused::Fused,
    loss,
    optim::OptimizerKind,
    param::Parameters,
    plan::{Part, Plan},
};
use mnist_lab::random::{Purpose, Stream};
use std::sync::Arc;
use std::time::Instant;
fn main() {
    let arch: Arch = "tutorial".parse().unwrap();
    let threads: usize = std::env::args().nth(1).map_or(2, |x| x.parse().unwrap());
    let mut params = Parameters::<f32, Cpu>::new(&arch, Cpu::default(), 1).unwrap();
    let mut plan = Fused::new(&arch, threads);
    let n: usize = std::env::args().nth(2).map_or(64, |x| x.parse().unwrap());
    let images = mnist_lab::data::Dataset::open(None).unwrap().train;
    let batch = Batch::new(images, (0..n as u32).collect());
    let mut t = vec![Vec::new(); 6];
    let mut grads = params.zeros().unwrap();
    for number in 0..300 {
        let step = Step {
            seed: 1,
            number,
            learning_rate: 1e-3,
            optimizer: OptimizerKind::Adam,
            weight_decay: 0.0,
            dropout: 0.25,
            label_smoothing: 0.0,
        };
        let t0 = Instant::now();
        let leaves = plan.leaves(&params).unwrap();
        let t1 = Instant::now();
        let part = Part { device: &Cpu::default(), batch: &batch, samples: 0..n.min(128), step: &step };
        let f = plan.forward(&leaves, &part, Gradients::leaky()).unwrap();
        let t2 = Instant::now();
        let (_, mut sums) = loss::backward(f.logits, &part).unwrap();
        let t3 = Instant::now();
        for (leaf, g) in leaves.iter().zip(&mut grads) {
            std::mem::swap(g, sums.get_or_alloc_mut(leaf).unwrap());
        }
        let t4 = Instant::now();
        for (v, d) in t.iter_mut().zip([t1 - t0, t2 - t1, t3 - t2, t4 - t3, t4 - t0]) {
            v.push(d);
        }
    }
    {
        use dfdx::tensor::{Trace, ZerosTensor};
        let dev = Cpu::default();
        let step = Step {
            seed: 1,
            number: 0,
            learning_rate: 1e-3,
            optimizer: OptimizerKind::Adam,
            weight_decay: 0.0,
            dropout: 0.25,
            label_smoothing: 0.0,
        };
        let mut v = Vec::new();
        for _ in 0..500 {
            let part = Part { device: &dev, batch: &batch, samples: 0..n.min(128), step: &step };
            let x = ZerosTensor::<f32>::zeros_like(&dev, &(10usize, n.min(128))).traced(Gradients::leaky());
            let t = Instant::now();
            let _ = loss::backward(x, &part).unwrap();
            v.push(t.elapsed());
        }
        v.sort();
        println!("loss alone {:?}", v[250]);
    }
    for (v, name) in t.iter_mut().zip(["load", "forward", "loss+backward", "update", "all"]) {
        v.sort();
        println!("{name}: {:?}", v[v.len() / 2]);
    }
}
