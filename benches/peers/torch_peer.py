"""PyTorch on the CPU as a person who wants speed writes it: the digits in memory, channels last, fused Adam.

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
    return made.to(memory_format=torch.channels_last)


def digits(split):
    """Images and labels as tensors."""
    images, labels = task.digits(split)
    images = torch.from_numpy(images).unsqueeze(1).to(memory_format=torch.channels_last)
    return images, torch.from_numpy(labels)


def train(given, peer):
    images, labels = digits("train")
    test_set = digits("t10k")
    validation = images[task.TRAINING :], labels[task.TRAINING :]
    images, labels = images[: task.TRAINING], labels[: task.TRAINING]
    model = network(given)
    optimizer = torch.optim.Adam(model.parameters(), lr=given.lr, fused=True)

    def accuracy(images, labels):
        model.eval()
        with torch.inference_mode():
            right = [(model(x).argmax(1) == y).sum().item() for x, y in zip(images.split(1000), labels.split(1000))]
        return sum(right) / len(labels)

    def epoch():
        began, samples = time.perf_counter(), 0
        model.train()
        for chosen in torch.randperm(len(images)).split(given.batch_size)[: given.steps]:
            batch = images.index_select(0, chosen).to(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(batch), labels.index_select(0, chosen))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            samples += len(chosen)
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
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    peer = f"PyTorch {torch.__version__.partition('+')[0]}"
    (infer if given.infer else train)(given, peer)
