"""What networks have learned: functions of functions, which know no network.

A network enters as a function: images -> one number each (a score, a loss), features ->
scores, or images -> features by name. All work under `jit` and on several devices.
"""

from .adversarial import dlr as dlr
from .adversarial import fgsm as fgsm
from .adversarial import pgd as pgd
from .adversarial import random_signs as random_signs
from .adversarial import robust_accuracy as robust_accuracy
from .apgd import apgd as apgd
from .dream import activation_maximization as activation_maximization
from .dream import deep_dream as deep_dream
from .dream import total_variation as total_variation
from .faithfulness import area_under as area_under
from .faithfulness import deletion as deletion
from .faithfulness import insertion as insertion
from .faithfulness import randomized as randomized
from .faithfulness import rank_correlation as rank_correlation
from .filters import Gabor as Gabor
from .filters import filter_grid as filter_grid
from .filters import fit_gabor as fit_gabor
from .gradcam import grad_cam as grad_cam
from .gradcam import grad_cam_plus_plus as grad_cam_plus_plus
from .gradcam import layer_cam as layer_cam
from .patches import TopPatches as TopPatches
from .patches import cut_patch as cut_patch
from .patches import top_patches as top_patches
from .saliency import guided as guided
from .saliency import integrated_gradients as integrated_gradients
from .saliency import occlusion as occlusion
from .saliency import saliency as saliency
from .saliency import smooth_grad as smooth_grad
from .style import Weights as Weights
from .style import content_loss as content_loss
from .style import gram_matrix as gram_matrix
from .style import keep_colors as keep_colors
from .style import style_loss as style_loss
from .style import style_objective as style_objective
from .style import style_transfer as style_transfer
