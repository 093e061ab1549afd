// What kernels.h uses. Included before any change of the compiler's target.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <new>
#include <type_traits>
#include <utility>

#include "msda.h"
