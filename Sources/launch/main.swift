import Launcher

import func Glibc.exit

exit(Program.run())
