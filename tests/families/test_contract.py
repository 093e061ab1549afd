"""The contract of every family: what the house asks of a folder of grouppose/models/."""

import math

import pytest
import torch

import grouppose
from grouppose.models import BUILDERS, build_decode, family, settings_of
from grouppose.skeleton import COCO, CROWDPOSE
from tests.families.contract import FAMILIES, SIZE, people, pictures, small_model, tiny

pytestmark = [pytest.mark.parametrize("name", FAMILIES), pytest.mark.usefixtures("one_thread")]


def encoded(name, *lists, skeleton=COCO):
    encode = grouppose.build_targets(name, num_body_points=skeleton.num_keypoints)
    ignore = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    return [encode(each, (SIZE, SIZE), ignore) for each in lists]


def criterion(name, skeleton=COCO):
    known = settings_of(family(name).build_criterion)
    given = {"num_body_points": skeleton.num_keypoints}
    return grouppose.build_criterion(name, **{k: v for k, v in given.items() if k in known})


def inference(model, images):
    with torch.inference_mode():
        return model.eval()(images)


def same(outputs, others, tolerance=1e-5):
    assert outputs.keys() == others.keys()
    for key, value in outputs.items():
        torch.testing.assert_close(value, others[key], atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_setting_is_taken_and_another_is_not(name, builder):
    build = getattr(grouppose, builder)
    known = settings_of(getattr(family(name), builder))
    given = {**known, **{k: v for k, v in tiny(name).SETTINGS.items() if k in known}}
    build(name, **given)
    with pytest.raises(TypeError, match="no setting 'sigmma'"):
        build(name, **given, sigmma=1)


def test_targets_are_finite_tensors_with_people_and_without(name):
    nobody, crowd = people(count=0), people()
    unlabelled = {**people(seed=1), "visible": torch.zeros(2, COCO.num_keypoints, dtype=bool)}
    everything = torch.ones(SIZE, SIZE, dtype=torch.bool)
    encode = grouppose.build_targets(name)
    targets = encoded(name, crowd, nobody, unlabelled) + [encode(crowd, (SIZE, SIZE), everything)]
    for target in targets:
        assert target.keys() == targets[0].keys()
        for key, value in target.items():
            assert isinstance(value, torch.Tensor)
            assert not value.isnan().any(), key
    outputs = small_model(name).train()(pictures(4))
    losses = criterion(name)(outputs, targets)
    assert math.isfinite(criterion(name).total(losses).item())


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=["coco", "crowdpose"])
def test_the_loss_of_two_pictures_falls(name, skeleton):
    descent = tiny(name).DESCENT
    model = small_model(name, num_body_points=skeleton.num_keypoints).train()
    targets = encoded(name, people(skeleton), people(skeleton, seed=1), skeleton=skeleton)
    losses_of = criterion(name, skeleton)
    optimizer = torch.optim.Adam(model.parameters(), descent["lr"])
    totals = []
    for _ in range(descent["steps"]):
        optimizer.zero_grad()
        total = losses_of.total(losses_of(model(pictures()), targets))
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert min(totals) < 0.75 * totals[0]


def test_the_loss_of_a_batch_is_that_of_its_parts_with_the_count_of_the_whole(name):
    model, losses_of = small_model(name).eval(), criterion(name)
    targets = encoded(name, people(), people(count=1, seed=1))
    images = pictures()
    count = losses_of.count(targets)
    whole = losses_of(model(images), targets)
    parts = [losses_of(model(images[i : i + 1]), targets[i : i + 1], count) for i in (0, 1)]
    for key, value in whole.items():
        torch.testing.assert_close(parts[0][key] + parts[1][key], value, atol=1e-4, rtol=1e-4)


def test_an_empty_picture_is_decoded(name):
    model = small_model(name)
    decode = build_decode(name, **decode_settings(name))
    views = decode.views(SIZE, SIZE)
    outputs = [inference(model, torch.zeros(1, 3, *view.size, dtype=torch.uint8)) for view in views]
    (found,) = decode.people(outputs, views)
    count = len(found["scores"])
    assert found["labels"].shape == (count,)
    assert found["keypoints"].shape == (count, COCO.num_keypoints, 2)
    assert found["confidence"].shape == (count, COCO.num_keypoints)
    assert found["confidence"].isfinite().all()
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def decode_settings(name, **more):
    known = settings_of(family(name).build_decode)
    return {k: v for k, v in {**tiny(name).SETTINGS, **more}.items() if k in known}


def test_a_file_goes_out_and_in(name, tmp_path):
    model = small_model(name)
    grouppose.save_weights(model, tmp_path / "model.safetensors")
    again = grouppose.load_model(tmp_path / "model.safetensors")
    assert again.settings == model.settings
    same(inference(again, pictures()), inference(model, pictures()))


def test_a_bare_state_dict_is_loaded_strictly(name):
    model, other = small_model(name), small_model(name)
    torch.nn.init.normal_(next(other.parameters()))
    state = model.state_dict()
    grouppose.load_weights(other, state)
    same(inference(other, pictures()), inference(model, pictures()))
    state.popitem()
    with pytest.raises(ValueError, match="does not fit the model"):
        grouppose.load_weights(other, state)


def test_a_file_and_its_model_find_the_same_people(name, tmp_path):
    path = tmp_path / "model.safetensors"
    grouppose.save_weights(small_model(name), path)
    picture = pictures(1)[0].permute(1, 2, 0).numpy()
    found = []
    for weights in (path, grouppose.load_model(path)):
        predictor = grouppose.Predictor(weights, threshold=float("-inf"))
        (result,) = predictor(picture)
        found.append(result)
    torch.testing.assert_close(found[0].scores, found[1].scores)
    torch.testing.assert_close(found[0].keypoints.xy, found[1].keypoints.xy, atol=1e-2, rtol=0)


def test_a_batch_of_two_is_two_batches_of_one(name):
    model, images = small_model(name), pictures()
    both = inference(model, images)
    for i in range(2):
        alone = inference(model, images[i : i + 1])
        decode = build_decode(name, **decode_settings(name))
        views = decode.views(SIZE, SIZE)[:1]
        parts = {key: value[i : i + 1] for key, value in both.items()}
        people_of_both = decode.people([parts], views)[0]
        for key, value in decode.people([alone], views)[0].items():
            torch.testing.assert_close(people_of_both[key], value, atol=1e-2, rtol=1e-3)


def test_the_flip_test_changes_nothing_on_a_symmetric_picture(name):
    height, width = tiny(name).SYMMETRIC
    size = {"eval_size": [height, width]}
    plain, both = (
        build_decode(name, **decode_settings(name, **size, flip_test=flip))
        for flip in (False, True)
    )
    views = both.views(height, width)
    outputs = tiny(name).symmetric_outputs(views, COCO)
    alone = plain.people(outputs[:1], views[:1])[0]
    merged = both.people(outputs, views)[0]
    assert len(alone["scores"]) > 0
    for key, value in alone.items():
        torch.testing.assert_close(merged[key], value, atol=1e-3, rtol=1e-4)
