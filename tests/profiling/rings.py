"""Devices in a ring that count what they send, and attention and a recurrence on them."""

import torch


class Ring:
    """P devices; each may hand tensors to the next, all at once, and what they send is counted."""

    def __init__(self, devices):
        self.sent = [0] * devices

    def turn(self, held):
        """What each device has after all have handed `held[device]` to their neighbour."""
        if len(held) > 1:
            for device, tensor in enumerate(held):
                self.sent[device] += tensor.nbytes
        return held[-1:] + held[:-1]

    def all_gather(self, pieces):
        """On every device the pieces of all, in order."""
        devices, passing = len(pieces), list(pieces)
        found = [{device: pieces[device]} for device in range(devices)]
        for step in range(1, devices):
            passing = self.turn(passing)
            for device in range(devices):
                found[device][(device - step) % devices] = passing[device]
        return [[known[place] for place in range(devices)] for known in found]

    def reduce_scatter(self, shares):
        """On device d the sum over all devices of `shares[device][d]`."""
        devices = len(shares)
        passing = [shares[device][(device - 1) % devices] for device in range(devices)]
        for step in range(1, devices):
            passing = self.turn(passing)
            passing = [passing[d] + shares[d][(d - 1 - step) % devices] for d in range(devices)]
        return passing

    def all_reduce(self, tensors):
        """On every device the sum of all, in equal shares."""
        shares = [list(tensor.chunk(len(tensors))) for tensor in tensors]
        return [torch.cat(gathered) for gathered in self.all_gather(self.reduce_scatter(shares))]


def ring_attention(ring, q, k, v, out_gradients):
    """Softmax attention without a mask, every device with a piece: outputs, and gradients of its q, k, v."""
    devices, held = len(q), [torch.stack(pair) for pair in zip(k, v, strict=True)]
    top, below, heights = ([0] * devices for _ in range(3))
    for step in range(devices):
        for d in range(devices):
            scores = q[d] @ held[d][0].T
            height = scores.amax(-1, keepdim=True)
            height = height if step == 0 else torch.maximum(height, heights[d])
            weights, old = (scores - height).exp(), 0 if step == 0 else (heights[d] - height).exp()
            top[d], below[d] = top[d] * old + weights @ held[d][1], below[d] * old + weights.sum(-1, True)
            heights[d] = height
        if step < devices - 1:
            held = ring.turn(held)
    outputs = [top[d] / below[d] for d in range(devices)]
    held = [torch.stack(pair) for pair in zip(k, v, strict=True)]
    gradients, of_q = [torch.zeros_like(pair) for pair in held], [torch.zeros_like(piece) for piece in q]
    for step in range(devices):
        for d in range(devices):
            weights = (q[d] @ held[d][0].T - heights[d]).exp() / below[d]
            pull = (out_gradients[d] * outputs[d]).sum(-1, keepdim=True)
            of_scores = weights * (out_gradients[d] @ held[d][1].T - pull)
            of_q[d] += of_scores @ held[d][0]
            gradients[d] = gradients[d] + torch.stack([of_scores.T @ q[d], weights.T @ out_gradients[d]])
        if step < devices - 1:
            held = ring.turn(held)
        gradients = ring.turn(gradients)  # the last turn brings them home
    return outputs, of_q, gradients


def spread_recurrence(ring, decays, written, last_gradients):
    """S_end = decay S_start + written on every device: where each starts, and the gradients of both parts.

    `last_gradients`: those of what each device starts from. The composition is literal: one after another.
    """
    devices = len(decays)
    gathered = ring.all_gather([torch.stack(pair) for pair in zip(decays, written, strict=True)])
    starts, shares = [], []
    for d in range(devices):
        pieces = [pair.clone().requires_grad_() for pair in gathered[d]]
        state = torch.zeros_like(written[0])
        for decay, wrote in pieces[:d]:
            state = decay * state + wrote
        starts.append(state.detach())
        torch.autograd.backward([state + 0 * sum(p.sum() for p in pieces)], [last_gradients[d]])
        shares.append([pair.grad for pair in pieces])
    return starts, ring.reduce_scatter(shares)
