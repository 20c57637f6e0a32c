import Staging

import func Glibc.exit

exit(StageBuild.run())
