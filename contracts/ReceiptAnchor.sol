// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {AnchorStorage} from "./AnchorStorage.sol";
import {MerkleLog} from "./MerkleLog.sol";

/// @title What ReceiptAnchor asks of the registry
interface ISettledCount {
    /// @notice Number of settled submissions.
    function settledCount() external view returns (uint64);
}

/// @title ReceiptAnchor
/// @notice Holds the latest root of one append-only log of receipts. An anchor is taken only with a consistency proof
/// from the one before, so that nobody, its operator included, can rewrite what is anchored. Leaf i is the receipt of
/// the registry's settled submission i, so the log is never larger than `settledCount`. Not upgradeable.
contract ReceiptAnchor is AnchorStorage, AccessControlDefaultAdminRules {
    /// @notice Role of the account that anchors.
    bytes32 public constant ANCHOR_ROLE = keccak256("ANCHOR_ROLE");

    /// @notice Longest origin, in bytes.
    uint256 public constant MAX_ORIGIN_BYTES = 128;

    bytes32 private constant TAG_ANCHORS = keccak256("dunes.anchors/v1");

    /// @notice The registry whose settled submissions this log records.
    ISettledCount public immutable registry;

    /// @notice The log that this one continues after, zero for none, and where that one was last good.
    address public immutable predecessor;
    uint64 public immutable predecessorSize;
    bytes32 public immutable predecessorRoot;

    /// @notice A larger tree is anchored. `chain` is `keccak256(abi.encode(TAG_ANCHORS, chainid, this, chain before,
    /// seq, size, root, block number, block time))`; the first anchor's seq is 1 and its chain before zero.
    event Anchored(
        uint64 indexed seq, uint64 size, bytes32 root, uint64 previousSize, bytes32 previousRoot, bytes32 chain
    );
    /// @notice A leaf policy holds from `firstIndex`.
    event LeafPolicyAdded(uint64 firstIndex, bytes32 policyHash);
    /// @notice No anchor is taken until `Unpaused`.
    event Paused(address account);
    /// @notice Anchors are taken again.
    event Unpaused(address account);
    /// @notice The log has ended for good.
    event Closed(address successor, uint64 lastGoodSize, bytes32 lastGoodRoot);
    /// @notice This log continues after another one.
    event Succeeded(address predecessor, uint64 size, bytes32 root);

    /// @notice The origin is not 1 to 128 printable ASCII bytes without space and `+`.
    error BadOrigin();
    /// @notice A successor's origin is new.
    error OriginReused();
    /// @notice Predecessor and successor record the same registry.
    error RegistryMismatch();
    /// @notice A size and root without a predecessor.
    error BadPredecessor();
    /// @notice The size is smaller than the anchored one.
    error SizeShrinks(uint64 anchored, uint64 size);
    /// @notice Another root at the anchored size.
    error RootConflict(uint64 size);
    /// @notice More leaves than settled submissions.
    error SizeAboveSettled(uint64 settled, uint64 size);
    /// @notice The proof does not show that the new tree extends the anchored one.
    error BadConsistencyProof();
    /// @notice The log is paused.
    error LogPaused();
    /// @notice The log is not paused.
    error NotPaused();
    /// @notice The log is closed.
    error LogClosed();
    /// @notice A policy must begin at an index that is neither settled nor covered by a later policy.
    error BadFirstIndex(uint64 firstIndex);
    /// @notice No policy of that number.
    error UnknownLeafPolicy(uint256 number);
    /// @notice The last good tree is larger than the anchored one, or contradicts it.
    error BadLastGood();
    /// @notice The successor does not commit to this log and the same last good size and root.
    error BadSuccessor(address successor);

    /// @notice The log that a successor continues after; all zero for none.
    struct Predecessor {
        address log;
        uint64 size;
        bytes32 root;
    }

    /// @param registry_ The registry that this log records.
    /// @param origin_ The log's name: 1 to 128 printable ASCII bytes, no space, no `+`.
    /// @param admin Holder of DEFAULT_ADMIN_ROLE.
    /// @param adminDelay Seconds that a transfer of that role waits.
    /// @param anchorer First holder of ANCHOR_ROLE.
    /// @param firstPolicyHash Hash of the leaf policy from index 0.
    /// @param previous The log that this one continues after.
    constructor(
        ISettledCount registry_,
        string memory origin_,
        address admin,
        uint48 adminDelay,
        address anchorer,
        bytes32 firstPolicyHash,
        Predecessor memory previous
    ) AccessControlDefaultAdminRules(adminDelay, admin) {
        _checkOrigin(bytes(origin_));
        // Reverts now, and not at the first anchor, when this is no registry.
        registry_.settledCount();
        registry = registry_;
        predecessor = previous.log;
        predecessorSize = previous.size;
        predecessorRoot = previous.root;
        if (previous.log == address(0)) {
            if (previous.size != 0 || previous.root != 0) revert BadPredecessor();
        } else {
            ReceiptAnchor old = ReceiptAnchor(previous.log);
            if (address(old.registry()) != address(registry_)) revert RegistryMismatch();
            if (keccak256(bytes(old.origin())) == keccak256(bytes(origin_))) revert OriginReused();
            emit Succeeded(previous.log, previous.size, previous.root);
        }
        _origin = origin_;
        _root = MerkleLog.EMPTY_ROOT;
        _grantRole(ANCHOR_ROLE, anchorer);
        _leafPolicies.push(LeafPolicy({firstIndex: 0, policyHash: firstPolicyHash}));
        emit LeafPolicyAdded(0, firstPolicyHash);
    }

    /// @notice Anchors a larger tree. The anchored size and root again is a no-op, so a repeated transaction is
    /// harmless.
    /// @param size Leaves of the tree, at most `registry.settledCount()`.
    /// @param root Its root.
    /// @param proof RFC 6962 consistency proof from the anchored size; empty from size 0.
    function anchor(uint64 size, bytes32 root, bytes32[] calldata proof) external onlyRole(ANCHOR_ROLE) {
        _requireOpen();
        uint64 previousSize = _size;
        bytes32 previousRoot = _root;
        if (size < previousSize) revert SizeShrinks(previousSize, size);
        if (size == previousSize) {
            if (root != previousRoot) revert RootConflict(size);
            return;
        }
        uint64 settled = registry.settledCount();
        if (size > settled) revert SizeAboveSettled(settled, size);
        if (!MerkleLog.isConsistent(previousSize, previousRoot, size, root, proof)) revert BadConsistencyProof();

        uint64 seq = _seq + 1;
        bytes32 chain = keccak256(
            abi.encode(
                TAG_ANCHORS,
                block.chainid,
                address(this),
                _chain,
                uint256(seq),
                uint256(size),
                root,
                block.number,
                block.timestamp
            )
        );
        _root = root;
        _size = size;
        _seq = seq;
        _blockNumber = uint48(block.number);
        _time = uint48(block.timestamp);
        _chain = chain;
        emit Anchored(seq, size, root, previousSize, previousRoot, chain);
    }

    /// @notice Adds a leaf policy for indices that are not settled yet, so that no existing leaf changes.
    /// @param firstIndex First index it holds for: at least `registry.settledCount()` and above the last policy's.
    /// @param policyHash SHA-256 of its canonical JSON.
    function addLeafPolicy(uint64 firstIndex, bytes32 policyHash) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (_status == Status.Closed) revert LogClosed();
        if (
            firstIndex < registry.settledCount()
                || firstIndex <= _leafPolicies[_leafPolicies.length - 1].firstIndex
        ) revert BadFirstIndex(firstIndex);
        _leafPolicies.push(LeafPolicy({firstIndex: firstIndex, policyHash: policyHash}));
        emit LeafPolicyAdded(firstIndex, policyHash);
    }

    /// @notice Stops anchors until `unpause`.
    function pause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _requireOpen();
        _status = Status.Paused;
        emit Paused(msg.sender);
    }

    /// @notice Takes anchors again.
    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (_status == Status.Closed) revert LogClosed();
        if (_status != Status.Paused) revert NotPaused();
        _status = Status.Open;
        emit Unpaused(msg.sender);
    }

    /// @notice Ends this log for good, also from a pause, and names where it was last good.
    /// @param successor_ The log that continues, which must commit to this log and the same size and root; zero for
    /// none.
    /// @param lastGoodSize_ At most the anchored size.
    /// @param lastGoodRoot_ Root at that size; at the anchored size the anchored root, at 0 the empty tree's.
    function close(address successor_, uint64 lastGoodSize_, bytes32 lastGoodRoot_)
        external
        onlyRole(DEFAULT_ADMIN_ROLE)
    {
        if (_status == Status.Closed) revert LogClosed();
        if (
            lastGoodSize_ > _size || (lastGoodSize_ == _size && lastGoodRoot_ != _root)
                || (lastGoodSize_ == 0 && lastGoodRoot_ != MerkleLog.EMPTY_ROOT)
        ) revert BadLastGood();
        if (successor_ != address(0)) {
            ReceiptAnchor next = ReceiptAnchor(successor_);
            if (
                successor_.code.length == 0 || next.predecessor() != address(this)
                    || next.predecessorSize() != lastGoodSize_ || next.predecessorRoot() != lastGoodRoot_
            ) revert BadSuccessor(successor_);
        }
        _status = Status.Closed;
        _successor = successor_;
        _lastGoodSize = lastGoodSize_;
        _lastGoodRoot = lastGoodRoot_;
        emit Closed(successor_, lastGoodSize_, lastGoodRoot_);
    }

    // ---------------------------------------------------------------- views

    /// @notice The log's name, as in its checkpoints and in every leaf.
    function origin() external view returns (string memory) {
        return _origin;
    }

    /// @notice The latest anchor.
    /// @return root Root of the anchored tree; the empty tree's before the first anchor.
    /// @return size Its leaves.
    /// @return seq Number of anchors so far.
    /// @return blockNumber Block of the latest.
    /// @return time Its time, in seconds.
    /// @return chain Hash chain over all anchors.
    function head()
        external
        view
        returns (bytes32 root, uint64 size, uint64 seq, uint64 blockNumber, uint64 time, bytes32 chain)
    {
        return (_root, _size, _seq, _blockNumber, _time, _chain);
    }

    /// @notice Number of leaf policies.
    function leafPolicyCount() external view returns (uint256) {
        return _leafPolicies.length;
    }

    /// @notice A leaf policy by number, from 0.
    function leafPolicy(uint256 number) external view returns (uint64 firstIndex, bytes32 policyHash) {
        if (number >= _leafPolicies.length) revert UnknownLeafPolicy(number);
        LeafPolicy storage policy = _leafPolicies[number];
        return (policy.firstIndex, policy.policyHash);
    }

    /// @notice Whether anchors are stopped for now.
    function paused() external view returns (bool) {
        return _status == Status.Paused;
    }

    /// @notice Whether the log has ended, and what its close named.
    function closure()
        external
        view
        returns (bool closed, address successor, uint64 lastGoodSize, bytes32 lastGoodRoot)
    {
        return (_status == Status.Closed, _successor, _lastGoodSize, _lastGoodRoot);
    }

    /// @notice Whether a leaf is in the anchored tree.
    /// @param index Its index.
    /// @param leaf `SHA-256(00 || entry)`.
    /// @param proof RFC 6962 inclusion proof at the anchored size.
    function verifyInclusion(uint64 index, bytes32 leaf, bytes32[] calldata proof) external view returns (bool) {
        return MerkleLog.isIncluded(index, leaf, _size, _root, proof);
    }

    /// @notice Whether one tree extends another: the check that `anchor` makes, for any two trees.
    /// @param size1 Leaves of the older tree.
    /// @param root1 Its root.
    /// @param size2 Leaves of the newer tree.
    /// @param root2 Its root.
    /// @param proof RFC 6962 consistency proof.
    function verifyConsistency(uint64 size1, bytes32 root1, uint64 size2, bytes32 root2, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        return MerkleLog.isConsistent(size1, root1, size2, root2, proof);
    }

    // ---------------------------------------------------------------- internals

    function _requireOpen() private view {
        if (_status == Status.Paused) revert LogPaused();
        if (_status == Status.Closed) revert LogClosed();
    }

    function _checkOrigin(bytes memory raw) private pure {
        if (raw.length == 0 || raw.length > MAX_ORIGIN_BYTES) revert BadOrigin();
        for (uint256 i = 0; i < raw.length; ++i) {
            bytes1 c = raw[i];
            if (c < 0x21 || c > 0x7e || c == "+") revert BadOrigin();
        }
    }
}
