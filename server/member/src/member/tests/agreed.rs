//! What was agreed on is not taken back, whoever asks for it.

use openraft::EntryPayload;
use openraft::raft::AppendEntriesRequest;

use super::*;
use crate::member::host::{HostCore, Session};
use crate::raft::types::{Entry, LogId, TypeConfig, Vote, log_id};
use crate::transport::message::Request;
use crate::transport::server::Host as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_another_history_ends_the_member_before_it_takes_an_entry() {
    for as_previous in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let core = leading(&dir).await;
        core.put(Bytes::from_static(b"key"), Bytes::from_static(b"value")).await.unwrap();
        let node = core.node().unwrap();
        let agreed = node.store.applied().log_id.unwrap();
        let vote = Vote::new_committed(agreed.leader_id.term + 1, 2);
        let foreign: LogId = log_id(vote.leader_id.term, 2, agreed.index());
        let entry = Entry { log_id: foreign, payload: EntryPayload::Blank };
        let append: AppendEntriesRequest<TypeConfig> = if as_previous {
            AppendEntriesRequest { vote, prev_log_id: Some(foreign), entries: vec![], leader_commit: None }
        } else {
            let before = log_id(agreed.leader_id.term, agreed.leader_id.node_id, agreed.index() - 1);
            AppendEntriesRequest {
                vote,
                prev_log_id: Some(before),
                entries: vec![entry],
                leader_commit: None,
            }
        };
        let host = HostCore(Arc::clone(&core));
        let answer = host.answer(&Session::Cluster(Arc::clone(&node)), Request::Append(append)).await;
        assert!(matches!(answer, Response::Failed(Failure::Stopped(_))), "{answer:?}");
        let fault = core.failure.get().unwrap();
        assert!(fault.text.contains("data of different clusters") && !fault.damaged, "{fault}");
        assert_eq!(node.log.last().unwrap(), Some(agreed), "the log is as it was");
        core.halt().await;
    }
}
