"""Ask how well a run's map determines the pose of a particle: its modes, and their weights.

python examples/particle_posterior.py run 12
"""

import argparse
from pathlib import Path

from napari_cryospin.api import (
    ParticlePosteriors,
    PosteriorOptions,
    RunFolder,
    euler_from_matrices,
    read_snapshot,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("run", type=Path, help="the run folder")
parser.add_argument("particle", type=int, help="number of the particle in use, from 1")
parser.add_argument("--nside", type=int, default=8, help="of the grid that covers all poses")
arguments = parser.parse_args()

# the particles of the run, prepared as it did, its last map and its last poses
snapshot = read_snapshot(RunFolder(arguments.run))
particles, poses = snapshot.particles, snapshot.poses
shifts = poses.shifts / particles.pixel_size  # Å to working pixels
row = arguments.particle - 1

# shifts near the present one are summed over where the run estimates them
options = PosteriorOptions(
    nside=arguments.nside,
    depth=8 * arguments.nside,
    shift_extent=2.0 if snapshot.settings.model.shifts else 0.0,
)
posteriors = ParticlePosteriors(particles, options)
posteriors.set_volume(snapshot.volume.volume, shifts, scales=poses.scales)
posterior = posteriors.particle(row, shifts[row])

print(f"Particle {arguments.particle}: entropy {posterior.entropy:.2f} nats")
modes = zip(
    posterior.mode_weights,
    posterior.mode_distances,
    euler_from_matrices(posterior.modes),
    strict=True,
)
for weight, distance, (rot, tilt, psi) in modes:
    print(
        f"weight {weight:.3f}, {distance:5.1f}° from the heaviest: "
        f"rot {rot:.1f}°, tilt {tilt:.1f}°, psi {psi:.1f}°"
    )

# compare with the pose that the run gave it
(distance,) = posterior.distance_to_best(poses.rotations[[row]])
print(f"The pose of the run lies {distance:.1f}° from the best one")
