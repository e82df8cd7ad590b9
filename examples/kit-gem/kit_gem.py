"""Generalised mean pooling (Radenovic et al. 2018) with an exponent for each channel, as a head for any network."""

from kit.plugin import HeadSpec, hookimpl


@hookimpl
def kit_heads():
    """Add `gem_channels`: kit train COMPETITION --set head=gem_channels."""
    return [HeadSpec("gem_channels", build, "GeM with an exponent for each channel", options=("dropout", "two_units"))]


def build(request):
    """Build pooling and the last layer for `request.features` channels and `request.outputs` logits."""
    import torch
    from torch import nn

    from kit.plugin.network import Output, last_layer, need_map, with_metadata

    class Gem(nn.Module):
        """(mean of x^p)^(1/p) for each channel, then one linear layer."""

        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.full((request.features,), 3.0))
            self.dropout = nn.Dropout(request.dropout or 0)
            self.last = last_layer(request.features + request.metadata, request)

        def forward(self, features, metadata):
            need_map(features, request.name)
            with torch.autocast(features.device.type, enabled=False):  # half precision has no room for powers
                x = features.float().clamp(min=1e-6)
                largest = x.amax((2, 3), keepdim=True)
                p = self.p.clamp(min=1)
                mean = ((x / largest) ** p[:, None, None]).mean((2, 3))
                pooled = with_metadata(mean ** (1 / p) * largest[:, :, 0, 0], metadata)
            return Output(self.last(self.dropout(pooled)), pooled)

    return Gem()
