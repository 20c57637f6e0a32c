extension Schema {
    /// The shapes that have a name.
    static let components: [String: Schema] = rootfs.merging(packages) { $1 }.merging(droplets) { $1 }.merging(store) {
        $1
    }

    private static let state = Schema.words("available", "deprecated", "blocked")

    private static let current: [String: Schema] = [
        "stack": .string, "version": .string, "state": state, "since": .time.orNull, "rollback": .string.orNull,
        "history": .list(.named("Promotion")),
    ]

    private static let rootfs: [String: Schema] = [
        "Failure": .object(["code": .string, "error": .string, "request": .string]),
        "Layer": .object(["digest": .digest, "size": .integer, "diffID": .digest]),
        "Version": .object(
            [
                "stack": .string, "version": .string, "architecture": .words("amd64", "arm64"), "current": .boolean,
                "state": state, "system": .string, "source": .digest, "size": .integer, "uncompressedSize": .integer,
                "created": .time, "shell": .string, "imported": .time, "importedBy": .string,
                "layers": .list(.named("Layer")),
            ],
            optional: ["packages": .integer, "sourceKind": .string, "sourceName": .string, "signedBy": .string]),
        "VersionDetails": .object([
            "stack": .string, "version": .string, "current": .boolean, "state": .named("State"),
            "promotions": .list(.named("Promotion")), "droplets": .integer, "versions": .list(.named("Version")),
        ]),
        "State": .object(["state": state, "reason": .string, "at": .time.orNull, "by": .string.orNull]),
        "Promotion": .object([
            "kind": .words("promote", "rollback"), "version": .string, "at": .time, "by": .string, "reason": .string,
        ]),
        "Current": .object(current.merging(["droplets": .integer]) { $1 }),
        "Promoted": .object(current.merging(["warnings": .list(.string)]) { $1 }),
        "Delta": .object([
            "stack": .string, "from": .string, "version": .string, "architecture": .words("amd64", "arm64"),
            "layer": .named("Layer"), "uncompressedSize": .integer, "rootfsSize": .integer, "sharePercent": .string,
            "changed": .integer, "gone": .integer, "times": .words("compared", "ignored"), "computed": .time,
            "computedBy": .string,
        ]),
        "Prepull": .object([
            "stack": .string, "version": .string, "architecture": .words("amd64", "arm64"),
            "form": .words("full", "delta"), "previous": .string.orNull,
            "pull": .list(
                .object(["reference": .string, "version": .string, "bytes": .integer, "helpsPrevious": .boolean])),
            "rootfs": .list(.named("Layer")), "lifecycle": .named("Layer"), "delta": .list(.named("Layer")),
            "bytes": .object(["empty": .integer, "previous": .integer.orNull, "pulled": .integer]),
        ]),
    ]

    private static let packages: [String: Schema] = [
        "Package": .object(
            ["name": .string, "version": .string, "architecture": .string, "source": .string],
            optional: ["sourceVersion": .string, "license": .string]),
        "Packages": .object([
            "stack": .string, "version": .string, "architecture": .words("amd64", "arm64"), "manager": .string,
            "distribution": .object(["id": .string, "version": .string]), "complete": .boolean, "skipped": .integer,
            "packages": .list(.named("Package")),
        ]),
        "PackageChange": .object([
            "name": .string, "architecture": .string, "from": .string, "to": .string, "fromArchitecture": .string,
        ]),
        "PackageChanges": .object([
            "stack": .string, "from": .string, "version": .string, "architecture": .words("amd64", "arm64"),
            "complete": .boolean, "added": .list(.named("Package")), "removed": .list(.named("Package")),
            "upgraded": .list(.named("PackageChange")), "downgraded": .list(.named("PackageChange")),
            "changed": .list(.named("PackageChange")), "unchanged": .integer,
        ]),
    ]

    private static let droplet: [String: Schema] = [
        "guid": .string, "hash": .string, "sha1": .string, "size": .integer, "stack": .string,
        "architecture": .words("amd64", "arm64"), "mode": .words("single", "split"), "uploaded": .time,
        "uploadedBy": .string, "layers": .list(.named("Layer")),
    ]

    private static let droplets: [String: Schema] = [
        "Droplet": .object(droplet),
        "DropletImage": .object(
            droplet.merging(["image": .string, "rootfs": .string.orNull, "digest": .digest.orNull]) { $1 }),
    ]

    private static let store: [String: Schema] = [
        "Overview": .object([
            "stacks": .list(
                .object([
                    "stack": .string, "current": .string.orNull, "since": .time.orNull, "by": .string.orNull,
                    "reason": .string.orNull, "rollback": .string.orNull, "droplets": .map(.integer),
                    "versions": .list(
                        .object([
                            "version": .string, "current": .boolean, "state": state, "reason": .string,
                            "system": .string, "architectures": .list(.string), "imported": .time.orNull,
                        ])),
                ])),
            "droplets": .integer, "clusters": .list(.named("Cluster")), "collection": .named("CollectionStatus"),
            "verification": .named("VerificationStatus"), "usage": .named("Usage"),
        ]),
        "Collection": .object([
            "blobs": .integer, "damaged": .integer, "leased": .integer, "marked": .integer, "repositories": .integer,
            "repositoriesRead": .integer, "retired": .integer, "retiredBytes": .integer,
            "retention": .object([
                "droplets": .integer, "manifests": .integer, "rootfsVersions": .integer, "withheld": .string.orNull,
            ]),
        ]),
        "CollectionStatus": .object([
            "running": .named("Collection").orNull, "last": .named("Collection").orNull, "lastEnded": .time.orNull,
        ]),
        "Verification": .object([
            "blobs": .integer, "bytes": .integer, "damagedBlobs": .integer,
            "damaged": .list(.object(["digest": .digest, "reason": .string, "users": .list(.string)])),
            "dangling": .integer, "orphanBytes": .integer, "orphans": .integer, "repaired": .boolean,
            "repositories": .integer, "unlinked": .integer, "unreadable": .integer, "unlisted": .integer,
        ]),
        "VerificationStatus": .object([
            "running": .named("Verification").orNull, "last": .named("Verification").orNull,
            "lastEnded": .time.orNull, "failure": .string.orNull,
        ]),
        "Cluster": .object([
            "cluster": .string, "complete": .boolean, "digests": .integer, "reported": .time,
        ]),
        "Limit": .object([
            "limit": .integer.orNull, "used": .integer.orNull, "reserved": .integer, "denied": .integer,
        ]),
        "Usage": .object([
            "counting": .boolean, "store": .named("Limit"),
            "quotas": .list(
                .object([
                    "repositories": .string, "limit": .integer.orNull, "used": .integer.orNull, "reserved": .integer,
                    "denied": .integer,
                ])),
            "counted": .object([
                "at": .time, "repositories": .integer, "logicalBytes": .integer, "storeBytes": .integer,
                "largest": .list(.object(["repository": .string, "bytes": .integer])),
            ]).orNull,
        ]),
    ]
}
