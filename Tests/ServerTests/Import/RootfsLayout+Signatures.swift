import TestSupport

extension RootfsLayout {
    private static let signing = """
        set -e; cd "$1"
        for key in ops other; do
            openssl genpkey -algorithm ed25519 -out "$key.key"; openssl pkey -in "$key.key" -pubout -out "$key.pem"
        done
        minisign -G -W -p mini.pub -s mini.key >/dev/null
        for key in ops other; do openssl pkeyutl -sign -rawin -inkey "$key.key" -in base.tar -out "file.$key"; done
        openssl pkeyutl -sign -rawin -inkey ops.key -in docker.tar -out docker.ops
        openssl pkeyutl -sign -rawin -inkey ops.key -in "$2" -out manifest.ops
        minisign -S -W -s mini.key -m base.tar -x file.mini
        minisign -S -l -W -s mini.key -m base.tar -x file.mini-legacy
        minisign -S -W -s mini.key -m "$2" -x manifest.mini
        """

    /// Makes keys of openssl's (`ops`, `other`) and of minisign's (`mini`), and with them signatures of `base.tar`
    /// (`file.KEY`), of `docker.tar` (`docker.KEY`) and of the image's manifest (`manifest.KEY`).
    func sign() async throws {
        try await runSuccessfully("bash", ["-c", Self.signing, "bash", directory, layout.path(digest)])
    }

    /// Has a server trust keys, by the names of their files.
    func trust(_ keys: [String], _ world: World) async throws {
        let trust = world.directory + "/trust"
        try await runSuccessfully("mkdir", ["-p", trust])
        for key in keys { try await runSuccessfully("cp", ["\(directory)/\(key)", trust]) }
    }
}
