"""Pure functions on images (NHWC): everything else is made of them."""

from . import arithmetic as arithmetic
from .conv import conv2d as conv2d
from .conv import depthwise_conv2d as depthwise_conv2d
from .conv import separable_conv2d as separable_conv2d
from .crop import crop_and_resize as crop_and_resize
from .normalize import batch_norm as batch_norm
from .normalize import group_norm as group_norm
from .normalize import layer_norm as layer_norm
from .normalize import local_response_norm as local_response_norm
from .pad import pad as pad
from .pool import avg_pool as avg_pool
from .pool import global_avg_pool as global_avg_pool
from .pool import global_max_pool as global_max_pool
from .pool import max_pool as max_pool
from .pool import max_pool_with_argmax as max_pool_with_argmax
from .resize import resize as resize
from .transpose import conv2d_transpose as conv2d_transpose
from .unpool import bed_of_nails_unpool as bed_of_nails_unpool
from .unpool import max_unpool as max_unpool
from .unpool import nearest_unpool as nearest_unpool
