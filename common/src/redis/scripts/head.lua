-- Begins scripts that read of a head its state, and when the job came into that.
local since = '^([^|]*)|' .. string.rep('[^|]*|', 7) .. '([^|]*)|'

