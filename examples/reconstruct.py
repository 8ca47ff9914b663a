"""Reconstruct a map from a particle stack, and print what happens.

python examples/reconstruct.py particles.star run
"""

import argparse
from pathlib import Path

from napari_cryospin.api import Reconstruction, Settings, events

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("stack", type=Path, help="particle table or stack: .star, .cs or .mrcs")
parser.add_argument("run", type=Path, help="the run folder, which is made")
parser.add_argument("--preset", default="quick", help="quick, default, cryospin, …")
arguments = parser.parse_args()

settings = Settings.from_preset(arguments.preset)
settings.data.stack = arguments.stack

# training goes on while the loop asks for events; exactly one Finished or Failed comes last
for event in Reconstruction(settings, arguments.run).run():
    match event:
        case events.RunStarted():
            print(f"{event.n_particles} particles of {event.box} px on {event.device}")
            # what the table lacks, and what was done about it
            print(*event.notes, sep="\n")
        case events.Switched():
            print(event.sentence())
        case events.EpochDone():
            print(f"Epoch {event.epoch + 1}, {event.inference.label}: loss {event.loss:.4f}")
        case events.Finished(verdict=verdict):
            print(f"The run is in {event.folder}. {event.halves_sentence()}")
            if verdict is not None:
                print(f"Verdict: {verdict.outcome}.", *verdict.sentences, sep="\n")
        case events.Failed():
            raise SystemExit(event.message)
