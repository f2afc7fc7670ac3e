"""The full-scale overlays resolve to the papers' numbers: a table of keys, values, and where each value is stated.

To add a row: `key | value as YAML | source`, below the `[prefix]` that its key begins with. A source begins with one of
`SOURCES`; `chosen` says that the papers and their code are silent, or why the overlay differs from them.
"""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drunet.demo.slides import SLIDES
from drunet.settings.merging import merged
from studies.common.study_settings import load_studies

ROOT = Path(__file__).parents[3]
SOURCES = {
    "Oskouei": "S. Oskouei et al. 2025, Segmentation of Non-Small Cell Lung Carcinomas: DRU-Net; by its headings",
    "code": "the repository of Oskouei et al., AICAN-Research/DRU-Net; by its files",
    "H2G-Net": "A. Pedersen et al. 2022, H2G-Net, Frontiers in Medicine 9:971873",
    "Tian": "L. Tian et al. 2024, MFStudentLNet, Scientific Reports; by its headings",
    "ResNet-50": "Lung Cancer Classification from CT Images Using ResNet, arXiv 2510.16310; by its headings",
    "Chu": "P. T. M. Chu et al., The application of deep learning in lung cancerous lesion detection; by its headings",
    "Chu's code": "the repository of Chu et al., main.py and its networks",
    "Pravdyvets": "D. Pravdyvets 2023, master's thesis, Universitat Oberta de Catalunya; by its sections",
    "chosen": "stated nowhere, chosen here",
}
TABLE = """
tissue.method | gradient | Oskouei, Model training: a threshold on color gradients
[tiles]
mpp | 1.0 | chosen: 10x, as H2G-Net's tiles
size | 224 | Oskouei, Data augmentation: a 224 x 224-pixel section
step | 224 | Oskouei, Model training: slides were divided into tiles
min_tissue | 0.25 | Oskouei, Model training: more than 25 % tissue
min_tumour | 0.05 | Oskouei, Model training: a minimum of 5 % tumor area
max_non_tumour | 0.0 | Oskouei, Model training: only tiles with no tumor
[classifiers.dr_fused]
architecture | dr_fused | Oskouei, Patch-wise classifier: DenseNet201 and ResNet101V2, fused
weights | imagenet | Oskouei, Patch-wise classifier: pre-trained on ImageNet
freeze_fraction | 0.3 | chosen; Oskouei, Model training: freezing the initial layers
batch_norm_momentum | null | code, ManyShotTransferLearning.ipynb: Keras' own
data.annotation_kinds | [psa] | Oskouei, Proposed method: trained on NLCB, which has partial annotations
loss.name | cross_entropy | Oskouei, Model training: Categorical Crossentropy
training.optimiser | adamax | Oskouei, Model training
training.learning_rate | 0.0001 | Oskouei, Model training: 1e-4
training.epochs | 200 | Oskouei, Model training: up to 200
training.steps_per_epoch | null | Oskouei, Data augmentation: each image once per epoch
training.batch_size | 16 | code, ManyShotTransferLearning.ipynb
training.patience | 40 | code, ManyShotTransferLearning.ipynb
augment.flip | true | Oskouei, Data augmentation: flipping
augment.quarter_turns | true | Oskouei, Data augmentation: rotations, multiples of 90 degrees
augment.hue | 0.08 | code, ManyShotTransferLearning.ipynb
augment.contrast | [0.7, 1.3] | code, ManyShotTransferLearning.ipynb
augment.saturation | [0.7, 1.3] | code, ManyShotTransferLearning.ipynb
augment.brightness | 0.1 | chosen; code: 0.2 on a scale of 0 to 255, which changes nothing
augment.multi_lens.lenses | 4 | code, ManyShotTransferLearning.ipynb
augment.multi_lens.radius | [80, 110] | code, ManyShotTransferLearning.ipynb
augment.multi_lens.strength | [-0.4, 0.4] | code, ManyShotTransferLearning.ipynb; Oskouei, Results: best 0.2 to 0.4
augment.multi_lens.probability | 1.0 | code, ManyShotTransferLearning.ipynb: every image
[refiners.unet]
architecture | drunet_unet | Oskouei, Refinement network: a lightweight U-Net
classifier | dr_fused | Oskouei, Proposed method: heatmaps of the patch-wise classifier
mpp | null | Oskouei, Refinement network: the slide down-sampled to one square
loss | dice | Oskouei, Model training: Dice loss
options.size | 1120 | Oskouei, Refinement network: 1120 x 1120
options.fusion | concatenate | Oskouei, Refinement network: concatenated into a 4-channel image
options.top_skip | false | Oskouei, Experiments: the top-most skip connection removed
options.spatial_dropout | 0.3 | code, Build_Unet.py
data.annotation_kinds | [wta] | Oskouei, Proposed method: trained on the Bergen cohort, outlined whole
training.optimiser | adam | Oskouei, Model training
training.learning_rate | 0.0001 | Oskouei, Model training: 1e-4
training.batch_size | 2 | Oskouei, Model training
training.epochs | 300 | Oskouei, Model training: up to 300
training.patience | 20 | code, SegmentationTraining.py
augment.flip | true | code, SegmentationTraining.py
augment.quarter_turns | true | code, SegmentationTraining.py
augment.multi_lens.lenses | 6 | code, SegmentationTraining.py
augment.multi_lens.radius | [300, 500] | code, SegmentationTraining.py
augment.multi_lens.strength | [-0.4, 0.4] | code, SegmentationTraining.py
augment.multi_lens.probability | 1.0 | code, SegmentationTraining.py: every image
[postprocess]
min_fragment_um2 | null | Oskouei, Post-processing: the smallest area annotated
opening_px | 7 | Oskouei, Post-processing: a kernel of 7 x 7
median_px | 11 | Oskouei, Post-processing: a kernel of 11 x 11
order | opening_median | Oskouei, Post-processing; code, PostProcess.py: the other way round
[studies.experiments]
split | test | Oskouei, Table 2: the same 20 slides of the test set
[classifiers.h2gnet_pretrained]
architecture | h2gnet_classifier | H2G-Net: MobileNetV2
training.learning_rate | 0.0001 | H2G-Net
training.batch_size | 64 | H2G-Net
weights | imagenet | chosen
training.epochs | 200 | Oskouei, Model training
training.patience | 40 | code, ManyShotTransferLearning.ipynb
[classifiers.h2gnet_wta]
training.learning_rate | 0.0001 | H2G-Net
training.batch_size | 64 | H2G-Net
augment.multi_lens.lenses | 4 | code, Generator.py
augment.multi_lens.strength | [-0.4, 0.4] | code, Generator.py
augment.multi_lens.probability | 1.0 | code, Generator.py: every image
weights.model | h2gnet_pretrained | Oskouei, Table 2, II: fine-tuned
data.annotation_kinds | [wta] | Oskouei, Table 2, II: the Bergen cohort
data.validation_tiles | null | Oskouei, Model training: all of 26 slides
training.epochs | 200 | Oskouei, Model training
training.steps_per_epoch | null | Oskouei, Data augmentation: each image once per epoch
augment.multi_lens.radius | [40, 70] | code, Generator.py
[classifiers.h2gnet_psa]
training.learning_rate | 0.0001 | H2G-Net
training.batch_size | 64 | H2G-Net
weights.model | h2gnet_pretrained | Oskouei, Table 2, VI: fine-tuned
data.annotation_kinds | [psa] | Oskouei, Table 2, VI: NLCB
training.epochs | 200 | Oskouei, Model training
augment.multi_lens.radius | [80, 110] | code, ManyShotTransferLearning.ipynb
[classifiers.dr_fused_wta]
augment.multi_lens.lenses | 4 | code, Generator.py
augment.multi_lens.strength | [-0.4, 0.4] | code, Generator.py
augment.multi_lens.probability | 1.0 | code, Generator.py: every image
data.annotation_kinds | [wta] | Oskouei, Table 2, V: the Bergen cohort
data.validation_tiles | null | Oskouei, Model training: all of 26 slides
training.epochs | 200 | Oskouei, Model training
training.learning_rate | 0.0001 | Oskouei, Model training
training.steps_per_epoch | null | Oskouei, Data augmentation: each image once per epoch
augment.multi_lens.radius | [40, 70] | code, Generator.py
[classifiers.few_shot]
weights | imagenet | Oskouei, Table 2: a pre-trained MobileNetV2
data.episodes.shots | 2 | code, FewShot.py
data.episodes.queries | 3 | code, FewShot.py
data.episodes.count | 20 | code, FewShot.py: 100 episodes, here five epochs of 20
training.epochs | 5 | code, FewShot.py: 100 episodes, here five epochs of 20
augment.multi_lens.radius | [80, 110] | code, FewShot.py, where lenses are commented out
data.annotation_kinds | [psa] | Oskouei, Table 2, VIII: NLCB
[classifiers.many_shot]
weights | imagenet | Oskouei, Table 2: a pre-trained MobileNetV2
data.annotation_kinds | [psa] | Oskouei, Table 2, IX: NLCB
[refiners.h2gnet_unet_pretrained]
options.size | 1024 | H2G-Net
training.epochs | 300 | Oskouei, Model training, of its own refiner; H2G-Net: 1000
training.patience | 20 | code, SegmentationTraining.py, of its own refiner; H2G-Net: 100
[refiners.h2gnet_unet_on_pretrained]
options.size | 1024 | H2G-Net
training.learning_rate | 0.0001 | Oskouei, Model training
training.epochs | 300 | Oskouei, Model training
[refiners.unet_on_wta]
options.size | 1120 | Oskouei, Refinement network
training.epochs | 300 | Oskouei, Model training
[refiners.unet_top_skip]
options.size | 1120 | Oskouei, Refinement network
options.top_skip | true | Oskouei, Experiments: the connection that the paper removes
options.fusion | concatenate | Oskouei, Refinement network
options.spatial_dropout | 0.3 | code, Build_Unet.py
[classifiers.backbone_dr_fused]
architecture | dr_fused | Oskouei, Table 5: proposed DR-fused
training.optimiser | adamax | Oskouei, Model training
training.learning_rate | 0.0001 | Oskouei, Model training
training.epochs | 200 | Oskouei, Model training
training.steps_per_epoch | null | Oskouei, Data augmentation: each image once per epoch
training.patience | 40 | code, ManyShotTransferLearning.ipynb
[classifiers]
backbone_vgg19.options.backbone | vgg19 | Oskouei, Table 5
backbone_resnet101v2.options.backbone | resnet101v2 | Oskouei, Table 5
backbone_mobilenetv2.options.backbone | mobilenetv2 | Oskouei, Table 5
backbone_efficientnetv2.options.backbone | efficientnetv2 | Oskouei, Table 5: EfficientNetV2, B0 chosen here
backbone_inceptionv3.options.backbone | inceptionv3 | Oskouei, Table 5
backbone_densenet201.options.backbone | densenet201 | Oskouei, Table 5
backbone_vgg19.training.epochs | 200 | Oskouei, Model training
backbone_densenet201.weights | imagenet | Oskouei, Patch-wise classifier: pre-trained on ImageNet
[studies.saliency]
true_positives | 3 | Oskouei, Fig. 7: d, e and f
false_positives | 3 | Oskouei, Fig. 7: a, b and c
[studies.scores]
readers | [reader_1, reader_2] | Oskouei, Qualitative model assessment: two pathologists
scored_runs | [drunet] | Oskouei, Qualitative model assessment
[classifiers.sampling_psa_induced.data.sampling]
strategy | induced_imbalance | Oskouei, Model training
tumour | 40 | Oskouei, Model training: 40 areas
non_tumour | 50 | Oskouei, Model training: 50 areas
hard | 10 | Oskouei, Model training: 10 slightly above the threshold
[classifiers.sampling_wta]
architecture | dr_fused | Oskouei, Model training: the patch-wise classifier
weights | imagenet | Oskouei, Patch-wise classifier
training.optimiser | adamax | Oskouei, Model training
training.steps_per_epoch | null | Oskouei, Data augmentation: each image once per epoch
training.patience | 40 | code, ManyShotTransferLearning.ipynb
data.annotation_kinds | [wta] | Oskouei, Discussion: sampling from whole annotations
training.epochs | 200 | Oskouei, Model training
training.learning_rate | 0.0001 | Oskouei, Model training
augment.multi_lens.radius | [40, 70] | code, Generator.py
[classifiers]
sampling_wta_strata.data.sampling.clusters | 4 | code, ClusteringForTissueBalancing.py
sampling_wta_focal.loss.name | focal | Oskouei, Discussion
sampling_wta_oversample.data.sampling.strategy | oversample | Oskouei, Discussion
sampling_wta_undersample.data.sampling.strategy | undersample | Oskouei, Discussion
sampling_wta_weights.loss.class_weights | balanced | Oskouei, Discussion: a weighted loss function
[studies.multi_lens]
options.backbone | densenet121 | Oskouei, Table 4
weights | imagenet | Oskouei, Experiments: a pre-trained DenseNet121
share | 0.1 | Oskouei, Experiments: 10 % of the training data
test_images | null | Oskouei, Table 4: the test sets
validation_share | 0.1 | chosen
repeats | 11 | chosen: 2 / 2**11 < 0.001, the published p of two sets
size | 32 | chosen: the size of CIFAR's images
strength | 0.4 | code, ManyShotTransferLearning.ipynb
datasets | {digits: null} | Oskouei, Experiments: MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100, files of the user's
sweep.datasets | [] | Oskouei, Fig. 5: a sweep on slides alone
augment.flip | true | Oskouei, Experiments: flipping
augment.quarter_turns | true | Oskouei, Experiments: rotation
augment.brightness | 0.1 | chosen; Oskouei, Experiments: brightness
augment.contrast | [0.7, 1.3] | chosen; Oskouei, Experiments: contrast
augment.hue | 0.08 | chosen; Oskouei, Experiments: color adjustments
multi_lens.lenses | 4 | code, ManyShotTransferLearning.ipynb
multi_lens.radius | [80, 110] | code, ManyShotTransferLearning.ipynb
multi_lens.radius_at | 224 | code, ManyShotTransferLearning.ipynb: on images of 224 px
multi_lens.probability | 1.0 | code, ManyShotTransferLearning.ipynb: every image
training.optimiser | adamax | chosen, as DR-fused
training.learning_rate | 0.0001 | chosen, as DR-fused
training.epochs | 200 | chosen, as DR-fused
cost.size | 224 | code, ManyShotTransferLearning.ipynb
cost.batch_size | 16 | code, ManyShotTransferLearning.ipynb
picture.medium | 0.4 | chosen; Oskouei, Fig. 2: a medium setting
slides.networks.H2G-Net | [lenses_h2g_none, lenses_h2g_40] | Oskouei, Table 4: without and with
training.patience | 40 | chosen, as DR-fused
training.batch_size | 16 | chosen, as DR-fused
sweep.strengths | [0.2, 0.6, 0.8, 1.0] | chosen
[classifiers.lenses_dru_none]
augment.multi_lens | null | Oskouei, Table 4: without
training.epochs | 200 | Oskouei, Model training
[classifiers.lenses_dru_60.augment.multi_lens]
strength | [-0.6, 0.6] | chosen
[classifiers.lenses_dru_80.augment.multi_lens]
strength | [-0.8, 0.8] | chosen
[classifiers.lenses_dru_20.augment.multi_lens]
strength | [-0.2, 0.2] | Oskouei, Results: best from 0.2
radius | [80, 110] | code, ManyShotTransferLearning.ipynb
[classifiers.lenses_dru_100.augment.multi_lens]
radius | [80, 110] | code, ManyShotTransferLearning.ipynb
probability | 1.0 | code, ManyShotTransferLearning.ipynb: every image
lenses | 4 | code, ManyShotTransferLearning.ipynb
strength | [-1.0, 1.0] | chosen: the strongest that does not turn places over
[classifiers.lenses_h2g_40]
architecture | h2gnet_classifier | Oskouei, Table 4: H2G-Net
data.annotation_kinds | [psa] | Oskouei, Table 4: NLCB
augment.multi_lens.strength | [-0.4, 0.4] | code, ManyShotTransferLearning.ipynb
training.learning_rate | 0.0001 | H2G-Net
weights | imagenet | chosen
training.batch_size | 64 | H2G-Net
training.epochs | 200 | Oskouei, Model training
[refiners]
lenses_unet_dru_none.classifier | lenses_dru_none | chosen: the heatmaps of its own classifier
lenses_unet_h2g_40.classifier | lenses_h2g_40 | chosen: the heatmaps of its own classifier
[studies.histology_distillation]
tasks.lung.classes | [lung_aca, lung_n, lung_scc] | Tian, Data acquisition
tasks.lung.split | {folds: 5, run: [0, 1, 2, 3, 4]} | Tian, Experiment setup: five-fold cross-validation
tasks.lung_and_colon.split | {folds: 5, run: [0, 1, 2, 3, 4]} | Tian, Experiment setup: five-fold cross-validation
view.size | 224 | Tian, Data preprocessing: 224 x 224
view.short_side | 256 | Tian, Data preprocessing: test images, the shorter side 256
view.flip | horizontal | Tian, Data preprocessing
view.rotation | 10.0 | Tian, Data preprocessing: up to 10 degrees
view.crop_scale | [0.08, 1.0] | chosen; Tian: random cropping
training.optimiser | adam | Tian, Table 1
training.learning_rate | 0.001 | Tian, Table 1
training.decay | {factor: 0.8, epochs: 10} | Tian, Table 1: less 20 % every 10 epochs; its gamma of 0.7 contradicts that
training.batch_size | 32 | Tian, Table 1
training.epochs | 100 | chosen; Tian: until performance plateaued
training.patience | 15 | chosen; Tian: until performance plateaued
distillation.temperature | 4.0 | chosen
distillation.weight | 0.7 | chosen
arms.resnet18.architecture | mfstudentlnet | Tian, Ablation experiment results: the baseline is ResNet18
arms.mfstudentlnet.teacher | resnet50 | Tian, Ablation experiment results: ResNet50 as the teacher
arms.resnet50.weights | imagenet | Tian, before Methods: the teacher is a pre-trained ResNet50
arms.vit.options | {patch: 16, width: 768, depth: 12, heads: 12} | chosen: ViT-B/16
tables.generalisation | [mobilenet, cnn, resnet101, vit, resnet50, densenet121, mfstudentlnet] | Tian, Table 4
[studies.histology_resnet50]
tasks.lung.split.parts | {training: 10200, validation: 2550, test: 2250} | ResNet-50, Method Summary
view.size | 224 | ResNet-50, Component map: 224 x 224 x 3
view.short_side | 224 | ResNet-50, Critical path: images resized to 224 x 224
training.batch_size | 25 | ResNet-50, Method Summary
training.learning_rate | 0.001 | ResNet-50, Method Summary
training.epochs | 25 | ResNet-50, Method Summary: 25 at most
training.patience | 3 | chosen; ResNet-50: stopped early after 18 epochs
[studies.histology_resnet50.arms.whole]
options.backbone | resnet50v2 | ResNet-50, Component map
options.dense_units | 128 | ResNet-50, Method Summary: Dense(128)
weights | imagenet | ResNet-50, Method Summary
[studies.histology_resnet50.arms]
frozen.freeze_fraction | 1.0 | ResNet-50, Next Checks: frozen backbone
frozen.weights | imagenet | ResNet-50, Method Summary
last_20.weights | imagenet | ResNet-50, Method Summary
last_20.options.trainable_layers | 20 | ResNet-50, Next Checks: the last 20 layers
[studies.ct_pneumonia]
tasks.ct.split.parts | {training: 714, validation: 150, test: 150} | Chu, 2.2, of each class
networks.freeze | published | Chu's code, its layers by network; Chu, 2.3: 70 %
networks.weights | imagenet | Chu, 2.3
view.rotation | 10.0 | Chu's code
view.shift | 0.2 | Chu's code
view.zoom | 0.2 | Chu's code
view.shear | 0.15 | Chu's code
view.flip | both | Chu's code
training.optimiser | adam | Chu, 2.3
training.batch_size | 16 | Chu, 2.3
training.epochs | 120 | Chu's code; Chu, 2.3: 100 to 150
[studies.ct_pneumonia.arms]
densenet121.view.size | 224 | Chu, 2.3
resnet50.view.size | 224 | Chu, 2.3
resnet101.view.size | 224 | Chu, 2.3
inceptionv3.view.size | 299 | Chu, 2.3
inceptionresnetv2.view.size | 299 | Chu, 2.3
xception.view.size | 299 | Chu, 2.3
mobilenetv2.view.size | 320 | Chu, 2.3
vgg16.view.size | 320 | Chu, 2.3
vgg19.view.size | 320 | Chu, 2.3
vgg16.options.dropout | 0.0 | Chu, 2.3: none
vgg19.options.dropout | 0.0 | Chu, 2.3: none
resnet50.weights | imagenet | Chu, 2.3
densenet121.training | {learning_rate: 0.00006, epsilon: 0.01} | Chu's code
mobilenetv2.training | {learning_rate: 0.00001, epsilon: 0.005} | Chu's code
inceptionv3.training | {learning_rate: 0.00001, epsilon: 0.01} | Chu's code
inceptionresnetv2.training | {learning_rate: 0.0001, epsilon: 0.075} | Chu's code
resnet50.training | {learning_rate: 0.00005, epsilon: 0.01} | Chu's code
resnet101.training | {learning_rate: 0.00001, epsilon: 0.01} | Chu's code
vgg16.training | {learning_rate: 0.000005, epsilon: 0.01} | Chu's code
vgg19.training | {learning_rate: 0.000005, epsilon: 0.005} | Chu's code
xception.training | {learning_rate: 0.0001, epsilon: 0.1} | Chu's code; Chu, 2.3: up to 0.1
[studies.ct_boxes]
size | 512 | Pravdyvets, 3.2: 512 by 512
source | B | Pravdyvets, 3.2: subtype B
targets | [A, G, E] | Pravdyvets, 3.3
slices.at_most | 1000 | Pravdyvets, 3.2 and 3.4
parts | {training: 800, test: 200} | Pravdyvets, 3.2
training.optimiser | adam | Pravdyvets, 3.2
training.epochs | 1000 | Pravdyvets, 3.2
training.learning_rate | 0.001 | chosen
training.batch_size | 8 | chosen
arms.simple.architecture | simple_box_cnn | Pravdyvets, 3.2: SimpleCancerCNN
arms.simple.loss | mse | Pravdyvets, 3.2
fine_tuning.parts | {training: 80, test: 20} | Pravdyvets, 3.4: an 80/20 split
fine_tuning.training.epochs | 100 | Pravdyvets, 3.4
good | 0.7 | Pravdyvets, 3.4: any IoU over 0.7
[classifiers.student_64]
training.learning_rate | 0.001 | Tian, Table 1
training.decay | {factor: 0.8, epochs: 10} | Tian, Table 1
training.epochs | 200 | chosen, as the teacher
distillation.teacher | dr_fused | chosen
"""


def rows(table: str) -> list[tuple[str, Any, str]]:
    """Key, value and source of each row."""
    found, prefix = [], ""
    for line in filter(None, table.splitlines()):
        if line.startswith("["):
            prefix = f"{line.strip('[]')}."
        else:
            key, value, source = line.split(" | ")
            found.append((f"{prefix}{key}", yaml.safe_load(value), source))
    return found


ROWS = rows(TABLE)


@pytest.fixture(scope="module")
def resolved() -> dict[str, Any]:
    """The configuration with both overlays, all models of the studies, and under `studies` their settings."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for overlay in ("full_scale", "full_scale_studies"):
        config = merged(config, yaml.safe_load((ROOT / f"resources/{overlay}.yaml").read_text(encoding="utf-8")))
    made = [f"results/demo/{slide}{end}" for slide in SLIDES for end in (".tif", ".geojson")]
    studies, everything = load_studies(config, ROOT / "workflow/studies", made)
    return {**everything, "studies": {name: study.settings for name, study in studies.items()}}


@pytest.mark.parametrize(("key", "value", "source"), ROWS, ids=[key for key, _, _ in ROWS])
def test_the_overlays_resolve_to_what_is_published(
    resolved: dict[str, Any], key: str, value: object, source: str
) -> None:
    found = functools.reduce(operator.getitem, key.split("."), resolved)
    assert found == value, source
    assert type(found) is type(value), source


def test_every_row_names_a_source_and_no_key_stands_twice() -> None:
    keys = [key for key, _, _ in ROWS]
    assert [key for key in keys if keys.count(key) > 1] == []
    assert [source for _, _, source in ROWS if not source.startswith(tuple(SOURCES))] == []


def test_every_study_and_model_of_the_overlays_has_a_row(resolved: dict[str, Any]) -> None:
    named = {tuple(key.split(".")[:2]) for key, _, _ in ROWS}
    main = yaml.safe_load((ROOT / "resources/full_scale.yaml").read_text(encoding="utf-8"))
    studies = yaml.safe_load((ROOT / "resources/full_scale_studies.yaml").read_text(encoding="utf-8"))["study_settings"]
    for name, settings in studies.items():
        models = {(kind, model) for kind in ("classifiers", "refiners") for model in settings.get(kind, {})}
        assert named & ({("studies", name)} | models), name
    assert {(kind, model) for kind in ("classifiers", "refiners") for model in main[kind]} & named
