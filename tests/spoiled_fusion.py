"""A joining of layers that fails, or whose result gives other answers."""

from torch.nn.utils.fusion import fuse_conv_bn_eval


def spoiled(change):
    """Return what stands for `fuse_conv_bn_eval`: it raises `change`, or adds it to every bias."""

    def joined(conv, norm):
        if isinstance(change, Exception):
            raise change
        result = fuse_conv_bn_eval(conv, norm)
        result.bias.data += change
        return result

    return joined
