"""Gradients of a whole network, by name."""

import torch
from torch.nn import functional as F


def gradients(model, images, is_bf16=False):
    with torch.autocast("cpu", torch.bfloat16, is_bf16):
        answers = model(images)
    F.cross_entropy(answers.float() if is_bf16 else answers, torch.arange(len(images)) % 10).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
