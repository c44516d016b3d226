from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the tower needs torch")

import small_imagebind  # noqa: E402
from bindsearch.encoders.imagebind import fast_audio_tower  # noqa: E402
from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, Block, build_tower  # noqa: E402

SHAPE = AudioTowerConfig(
    width=small_imagebind.WIDTH, blocks=small_imagebind.LAYERS, heads=small_imagebind.HEADS, dim=small_imagebind.DIM
)
MIN_COSINE = {torch.bfloat16: 0.999, torch.int8: 0.999}


def tower():
    return build_tower(small_imagebind.audio_checkpoint(), SHAPE)


def clips(count: int = fast_audio_tower.CLIPS_PER_STEP + 3):
    return torch.randn(count, 1, 128, 204, generator=torch.Generator().manual_seed(0))


def cosines(one, other):
    return torch.nn.functional.cosine_similarity(one.float(), other.float())


@pytest.fixture(params=list(fast_audio_tower.LAYER_TYPES), ids=str)
def dtype(request):
    if not fast_audio_tower.is_supported(fast_audio_tower.LAYER_TYPES[request.param]):
        pytest.skip("this torch lacks the operators")
    return request.param


@pytest.fixture
def several_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@torch.inference_mode()
def test_it_gives_what_the_plain_tower_gives(dtype):
    run = fast_audio_tower.prepare_tower(tower(), dtype)
    assert isinstance(run, fast_audio_tower.FastAudioTower)
    exact = tower()(clips())
    assert (cosines(run(clips()), exact) >= MIN_COSINE[dtype]).all()
    assert (cosines(run(clips()), exact.roll(1, 0)) < MIN_COSINE[dtype]).all()


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_clip_does_not_depend_on_its_batch_and_two_runs_are_equal(dtype, threads, several_threads):
    torch.set_num_threads(threads)
    run = fast_audio_tower.prepare_tower(tower(), dtype)
    together = run(clips())
    assert together.shape == (len(clips()), SHAPE.dim)
    assert torch.get_num_threads() == threads
    assert torch.equal(together, run(clips()))
    assert torch.equal(together, fast_audio_tower.prepare_tower(tower(), dtype)(clips()))
    alone = torch.cat([run(clip[None]) for clip in clips()])
    backwards = run(clips().flip(0)).flip(0)
    unit = torch.nn.functional.normalize
    for other in (alone, backwards):
        assert (unit(together.float(), dim=-1) - unit(other.float(), dim=-1)).abs().max() <= 1e-5


@torch.inference_mode()
def test_what_fails_in_a_thread_fails_here_and_leaves_the_number_of_threads(dtype, several_threads, monkeypatch):
    torch.set_num_threads(2)
    run = fast_audio_tower.prepare_tower(tower(), dtype)

    def no_memory(self, x, asked=None):
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(fast_audio_tower.FastBlock, "__call__", no_memory)
    with pytest.raises(RuntimeError, match="not enough memory"):
        run(clips())
    assert torch.get_num_threads() == 2


def with_outliers(made, times):
    """Make channels behind the norms larger and the weights that meet them smaller: the function stays."""
    for block in made.blocks:
        for norm, layer in ((block.norm_1, block.attention.query_key_value), (block.norm_2, block.widen)):
            norm.weight[::20] *= times
            norm.bias[::20] *= times
            layer.weight[:, ::20] /= times
    return made


@torch.inference_mode()
def test_channels_that_stand_out_do_not_cost_the_others_their_steps(dtype, monkeypatch):
    exact = tower()(clips(4))
    assert (
        cosines(fast_audio_tower.prepare_tower(with_outliers(tower(), 64), dtype)(clips(4)), exact) >= MIN_COSINE[dtype]
    ).all()
    monkeypatch.setattr(fast_audio_tower, "balance_channels", lambda norm, layer: None)
    uneven = cosines(fast_audio_tower.prepare_tower(with_outliers(tower(), 64), dtype)(clips(4)), exact)
    assert (uneven >= MIN_COSINE[dtype]).all() == (dtype is not torch.int8)


@torch.inference_mode()
def test_in_floats_evening_changes_nothing():
    torch.manual_seed(0)
    block = Block(SHAPE)
    block.norm_1.weight[3], block.norm_1.weight[4], block.attention.query_key_value.weight[:, 5] = 50.0, 0.0, 0.0
    x = torch.randn(7, SHAPE.width)
    before = block.attention.query_key_value(block.norm_1(x))
    fast_audio_tower.balance_channels(block.norm_1, block.attention.query_key_value)
    assert torch.equal(block.attention.query_key_value(block.norm_1(x)), before)
    assert block.norm_1.weight[3] < 50


@torch.inference_mode()
def test_float32_is_the_plain_tower_to_the_bit():
    assert torch.equal(fast_audio_tower.prepare_tower(tower(), torch.float32)(clips(3)), tower()(clips(3)))


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8], ids=str)
def test_without_the_operators_the_plain_tower_runs_in_bfloat16(monkeypatch, dtype):
    monkeypatch.setattr(fast_audio_tower, "is_supported", lambda kind: False)
    run = fast_audio_tower.prepare_tower(tower(), dtype)
    assert not isinstance(run, fast_audio_tower.FastAudioTower)
    assert torch.equal(run(clips(3)), tower().bfloat16()(clips(3).bfloat16()))


def test_operators_that_are_missing_or_wrong_are_not_used():
    class Missing(fast_audio_tower.PackedLinear):
        def __init__(self, layer):
            torch.ops.mkldnn.no_such_operator(layer.weight)

    class Wrong(fast_audio_tower.PackedLinear):
        def __call__(self, x, *, gelu=False, add=None):
            return super().__call__(x, gelu=gelu, add=add) * 1.5

    assert not fast_audio_tower.is_supported(Missing)
    assert not fast_audio_tower.is_supported(Wrong)


@torch.inference_mode()
def test_a_linear_layer_in_int8_is_off_by_few_steps(dtype):
    torch.manual_seed(0)
    layer = torch.nn.Linear(96, 40)
    kind = fast_audio_tower.LAYER_TYPES[dtype]
    x = 3 + torch.randn(1, 7, 96, generator=torch.Generator().manual_seed(1)).to(kind.dtype)
    exact = layer(x.float())
    assert (kind(layer)(x) - exact).abs().max() <= 0.03 * exact.abs().max()
    silence = torch.zeros_like(x)
    assert (kind(layer)(silence) - layer.bias).abs().max() <= 0.01 * layer.bias.abs().max()
