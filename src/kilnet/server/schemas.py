"""The answers of the JSON API, as its OpenAPI document describes them."""

from pydantic import BaseModel, Field


class ClassProbability(BaseModel):
    """A class and its calibrated probability."""

    name: str = Field(serialization_alias="class")
    probability: float = Field(ge=0, le=1)


class Explanation(BaseModel):
    """Where the network looked."""

    seen: str = Field(description="The picture as the network sees it: a PNG file in base64.")
    heat: str | None = Field(
        description="Grad-CAM for the first class, on the pixels of `seen`: a grey PNG file in base64; 255 is the "
        "largest value. Null if the network has no convolution."
    )


class PredictionAnswer(BaseModel):
    """What the network says about a picture."""

    classes: list[ClassProbability] = Field(description="The most probable first.")
    unsure: bool | None = Field(
        description="Whether a person should check it; null if the run is not calibrated."
    )
    explanation: Explanation | None


class RunAnswer(BaseModel):
    """The run that is served."""

    name: str
    classes: list[str]
    channels: int
    height: int
    width: int
    calibrated: bool = Field(description="Whether probabilities are calibrated on validation images.")
    sure_from: float | None = Field(description="Predictions with less confidence are unsure.")
    max_bytes: int = Field(description="A picture with more bytes is refused with status 413.")
    max_pixels: int = Field(description="A picture with more pixels is refused with status 413.")
    num_examples: int


class ExampleAnswer(BaseModel):
    """A validation image."""

    number: int
    name: str
    truth: str


class HealthAnswer(BaseModel):
    """The server is running."""

    status: str


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str
