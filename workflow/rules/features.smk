"""Where the features of an encoder lie, and which classifiers learn from them."""


def encoder_of(model):
    """The encoder whose features a classifier learns from; None for one that sees tiles itself."""
    return settings_of(model).get("encoder")


def encoder_file(file):
    """A file of a classifier's encoder."""
    return lambda wildcards: f"{RESULTS}/encoders/{encoder_of(wildcards.model)}/{file}"


def features_file(wildcards):
    return f"{RESULTS}/features/{encoder_of(wildcards.model)}/{wildcards.slide}.npy"


def learning_features(wildcards):
    return expand(f"{RESULTS}/features/{encoder_of(wildcards.model)}/{{slide}}.npy", slide=learning_slides(wildcards))


def adopted_settings(wildcards):
    """What of an encoder's settings its adoption depends on."""
    later = ("kept", "stain_normalisation")
    return {k: v for k, v in config["encoders"][wildcards.encoder].items() if k not in later}


def kept_type(encoder):
    """In which type an encoder's features are kept."""
    return config["encoders"][encoder].get("kept", "float16")


def head_names():
    """A pattern of the classifiers whose head alone is trained here, folds included."""
    return pattern([n for n, settings in config["classifiers"].items() if "encoder" in settings], True)
