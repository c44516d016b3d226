from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the tower needs torch")

import small_imagebind  # noqa: E402
from bindsearch.encoders.imagebind import fast_audio_tower  # noqa: E402
from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, Block, build_tower  # noqa: E402

CONFIG = AudioTowerConfig(
    width=small_imagebind.WIDTH, blocks=small_imagebind.LAYERS, heads=small_imagebind.HEADS, dim=small_imagebind.DIM
)
MIN_COSINE = {torch.bfloat16: 0.999, torch.int8: 0.999}


def plain_tower():
    return build_tower(small_imagebind.audio_checkpoint(), CONFIG)


def random_clips(count: int = fast_audio_tower.CLIPS_PER_STEP + 3):
    return torch.randn(count, 1, 128, 204, generator=torch.Generator().manual_seed(0))


def cosines(rows, others):
    return torch.nn.functional.cosine_similarity(rows.float(), others.float())


@pytest.fixture(params=list(fast_audio_tower.LAYER_TYPES), ids=str)
def dtype(request):
    if not fast_audio_tower.is_supported(fast_audio_tower.LAYER_TYPES[request.param]):
        pytest.skip("this torch lacks the operators")
    return request.param


@pytest.fixture
def restore_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@torch.inference_mode()
def test_fast_tower_agrees_with_the_plain_tower(dtype):
    run = fast_audio_tower.prepare_tower(plain_tower(), dtype)
    assert isinstance(run, fast_audio_tower.FastAudioTower)
    exact = plain_tower()(random_clips())
    assert (cosines(run(random_clips()), exact) >= MIN_COSINE[dtype]).all()
    assert (cosines(run(random_clips()), exact.roll(1, 0)) < MIN_COSINE[dtype]).all()


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_vectors_do_not_depend_on_batch_threads_or_run(dtype, threads, restore_threads):
    torch.set_num_threads(threads)
    run = fast_audio_tower.prepare_tower(plain_tower(), dtype)
    together = run(random_clips())
    assert together.shape == (len(random_clips()), CONFIG.dim)
    assert torch.get_num_threads() == threads
    assert torch.equal(together, run(random_clips()))
    assert torch.equal(together, fast_audio_tower.prepare_tower(plain_tower(), dtype)(random_clips()))
    alone = torch.cat([run(clip[None]) for clip in random_clips()])
    backwards = run(random_clips().flip(0)).flip(0)
    unit = torch.nn.functional.normalize
    for other in (alone, backwards):
        assert (unit(together.float(), dim=-1) - unit(other.float(), dim=-1)).abs().max() <= 1e-5


@torch.inference_mode()
def test_error_in_a_thread_is_raised_and_threads_restored(dtype, restore_threads, monkeypatch):
    torch.set_num_threads(2)
    run = fast_audio_tower.prepare_tower(plain_tower(), dtype)

    def no_memory(self, x, queries=None):
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(fast_audio_tower.FastBlock, "__call__", no_memory)
    with pytest.raises(RuntimeError, match="not enough memory"):
        run(random_clips())
    assert torch.get_num_threads() == 2


def with_outliers(tower, factor):
    """Scale some channels of the norms up and the weights that multiply them down: the function stays the same."""
    for block in tower.blocks:
        for norm, layer in ((block.norm_1, block.attention.query_key_value), (block.norm_2, block.widen)):
            norm.weight[::20] *= factor
            norm.bias[::20] *= factor
            layer.weight[:, ::20] /= factor
    return tower


@torch.inference_mode()
def test_balancing_keeps_int8_exact_with_outlier_channels(dtype, monkeypatch):
    exact = plain_tower()(random_clips(4))
    assert (
        cosines(fast_audio_tower.prepare_tower(with_outliers(plain_tower(), 64), dtype)(random_clips(4)), exact)
        >= MIN_COSINE[dtype]
    ).all()
    monkeypatch.setattr(fast_audio_tower, "balance_channels", lambda norm, layer: None)
    unbalanced = cosines(
        fast_audio_tower.prepare_tower(with_outliers(plain_tower(), 64), dtype)(random_clips(4)), exact
    )
    assert (unbalanced >= MIN_COSINE[dtype]).all() == (dtype is not torch.int8)


@torch.inference_mode()
def test_balancing_channels_does_not_change_float_products():
    torch.manual_seed(0)
    block = Block(CONFIG)
    block.norm_1.weight[3], block.norm_1.weight[4], block.attention.query_key_value.weight[:, 5] = 50.0, 0.0, 0.0
    x = torch.randn(7, CONFIG.width)
    before = block.attention.query_key_value(block.norm_1(x))
    fast_audio_tower.balance_channels(block.norm_1, block.attention.query_key_value)
    assert torch.equal(block.attention.query_key_value(block.norm_1(x)), before)
    assert block.norm_1.weight[3] < 50


@torch.inference_mode()
def test_float32_is_bit_identical_to_the_plain_tower():
    assert torch.equal(
        fast_audio_tower.prepare_tower(plain_tower(), torch.float32)(random_clips(3)), plain_tower()(random_clips(3))
    )


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8], ids=str)
def test_plain_tower_runs_in_bfloat16_without_the_operators(monkeypatch, dtype):
    monkeypatch.setattr(fast_audio_tower, "is_supported", lambda layer_type: False)
    run = fast_audio_tower.prepare_tower(plain_tower(), dtype)
    assert not isinstance(run, fast_audio_tower.FastAudioTower)
    assert torch.equal(run(random_clips(3)), plain_tower().bfloat16()(random_clips(3).bfloat16()))


def test_missing_or_wrong_operators_are_not_supported():
    class Missing(fast_audio_tower.PackedLinear):
        def __init__(self, layer):
            torch.ops.mkldnn.no_such_operator(layer.weight)

    class Wrong(fast_audio_tower.PackedLinear):
        def __call__(self, x, *, gelu=False, add=None):
            return super().__call__(x, gelu=gelu, add=add) * 1.5

    assert not fast_audio_tower.is_supported(Missing)
    assert not fast_audio_tower.is_supported(Wrong)


@torch.inference_mode()
def test_fast_linear_layer_is_near_the_exact_one(dtype):
    torch.manual_seed(0)
    layer = torch.nn.Linear(96, 40)
    layer_type = fast_audio_tower.LAYER_TYPES[dtype]
    x = 3 + torch.randn(1, 7, 96, generator=torch.Generator().manual_seed(1)).to(layer_type.dtype)
    exact = layer(x.float())
    assert (layer_type(layer)(x) - exact).abs().max() <= 0.03 * exact.abs().max()
    zeros = torch.zeros_like(x)
    assert (layer_type(layer)(zeros) - layer.bias).abs().max() <= 0.01 * layer.bias.abs().max()
