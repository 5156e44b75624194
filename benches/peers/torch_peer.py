"""PyTorch as a person who wants speed writes it: the digits in the device's memory, channels last, fused Adam.

On a GPU (`--device cuda`) it may use TF32, as it does by itself in convolutions, and `--graph` replays a captured CUDA graph of
a step instead of launching its kernels one by one.

With `--infer` it does not train: it classifies the test images, ten thousand for each line, or with `--batch-size 1`
one at a time for the median time of one. The weights are then as they were drawn, which changes nothing in the time.
"""

import statistics
import time
import warnings

import torch
import torch.nn.functional as F
from torch import nn

import task

# `nn.Lazy…` says at each layer that it may change one day.
warnings.filterwarnings("ignore", message="Lazy modules")


class Residual(nn.Module):
    """The sum of two ways through."""

    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*body), nn.Sequential(*shortcut) if shortcut else nn.Identity()

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


def modules(layers, dropout):
    """The modules of these layers; the first batch tells them how wide their input is."""
    make = {
        "conv": lambda x: nn.LazyConv2d(x["filters"], x["kernel"], x["stride"], x["padding"]),
        "pool": lambda x: nn.MaxPool2d(x["size"], x["stride"]),
        "relu": lambda x: nn.ReLU(),
        "bn": lambda x: nn.LazyBatchNorm2d(eps=1e-3, momentum=0.01),
        "dropout": lambda x: nn.Dropout(dropout if x["rate"] is None else x["rate"]),
        "flatten": lambda x: nn.Flatten(),
        "dense": lambda x: nn.LazyLinear(x["units"]),
        "gap": lambda x: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "res": lambda x: Residual(modules(x["body"], dropout), modules(x["shortcut"], dropout)),
    }
    return [make[layer["kind"]](layer) for layer in layers if layer["kind"] != "dropout" or (layer["rate"] or dropout)]


def network(given):
    """The network with its weights drawn, channels last."""
    made = nn.Sequential(*modules(task.parse(given.arch), given.dropout)).eval()
    made(torch.zeros(1, 1, 28, 28))
    return made.to(given.device, memory_format=torch.channels_last)


def digits(split, device="cpu"):
    """Images and labels as tensors."""
    images, labels = task.digits(split)
    images = torch.from_numpy(images).unsqueeze(1).to(device, memory_format=torch.channels_last)
    return images, torch.from_numpy(labels).to(device)


def captured(step, given, model, optimizer):
    """`step`, which takes the numbers of a batch's samples, as a CUDA graph that is replayed; the training starts anew."""
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    chosen = torch.zeros(given.batch_size, dtype=torch.long, device=given.device)
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step(chosen)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(chosen)
    model.load_state_dict(first)
    for state in optimizer.state.values():
        for tensor in state.values():
            tensor.zero_()

    def replay(samples):
        if len(samples) < given.batch_size:
            return step(samples)
        chosen.copy_(samples)
        graph.replay()

    return replay


def train(given, peer):
    images, labels = digits("train", given.device)
    test_set = digits("t10k", given.device)
    validation = images[task.TRAINING :], labels[task.TRAINING :]
    images, labels = images[: task.TRAINING], labels[: task.TRAINING]
    model = network(given)
    optimizer = torch.optim.Adam(model.parameters(), lr=given.lr, fused=True, capturable=given.graph)

    def accuracy(images, labels):
        model.eval()
        with torch.inference_mode():
            right = [(model(x).argmax(1) == y).sum().item() for x, y in zip(images.split(1000), labels.split(1000))]
        return sum(right) / len(labels)

    def step(chosen):
        batch = images.index_select(0, chosen).to(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(batch), labels.index_select(0, chosen))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=not given.graph)

    if given.graph:
        model.train()
        step = captured(step, given, model, optimizer)

    def epoch():
        began, samples = time.perf_counter(), 0
        model.train()
        for chosen in torch.randperm(len(images), device=given.device).split(given.batch_size)[: given.steps]:
            step(chosen)
            samples += len(chosen)
        if given.device != "cpu":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        if given.target:
            accuracy(*validation)
        return samples, seconds

    parameters = sum(tensor.numel() for tensor in model.parameters())
    task.run(given, peer, parameters, epoch, lambda: accuracy(*test_set))


@torch.inference_mode()
def infer(given, peer):
    images, _ = digits("t10k")
    model = network(given)
    if given.infer == "script":
        model = torch.jit.optimize_for_inference(torch.jit.script(model))

    def seconds(batch):
        began = time.perf_counter()
        model(batch).argmax(1).tolist()
        return time.perf_counter() - began

    task.tell("started", peer=peer, threads=given.threads)
    batches = images.split(given.batch_size)
    # The first pass is the warm-up.
    for _ in range(1 + given.epochs):
        if given.batch_size == 1:
            task.tell("latency", p50_us=1e6 * statistics.median(seconds(one) for one in batches[:1000]))
        else:
            task.tell("evaluated", images_per_second=len(images) / sum(seconds(batch) for batch in batches))


if __name__ == "__main__":
    parser = task.flags(__doc__)
    parser.add_argument("--infer", choices=["eager", "script"], help="the modules as they are, or TorchScript")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--graph", action="store_true", help="CUDA graphs")
    given = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    peer = f"PyTorch {torch.__version__.partition('+')[0]}"
    (infer if given.infer else train)(given, peer)
