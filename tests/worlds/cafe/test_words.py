"""The word lists: what the gold reward and the tokenizer take for granted."""

import itertools

from minirlhf.worlds.cafe import PROMPTS, VOCABULARY, words


def test_no_word_has_two_meanings():
    groups = [
        *words.SUBJECTS.values(),
        *words.KIND_ADJECTIVES.values(),
        *words.RUDE_ADJECTIVES.values(),
        words.ADVERBS,
    ]
    content = list(itertools.chain(*groups))
    assert len(content) == len(set(content))
    # A closing never counts as a repetition, and no grammar word is a content word.
    others = {word for closing in words.CLOSINGS for word in closing.text.split()}
    assert not set(content) & (others | {"review", ":", "the", "was", ",", ".", *words.CONNECTIVES})


def test_kind_and_rude_are_balanced():
    for sort in words.SUBJECTS:
        assert len(words.KIND_ADJECTIVES[sort]) == len(words.RUDE_ADJECTIVES[sort])
    tones = [closing.tone for closing in words.CLOSINGS]
    assert tones.count("happy") == tones.count("unhappy") > 0


def test_no_closing_begins_another():
    texts = [closing.text + " " for closing in words.CLOSINGS]
    assert not [(a, b) for a in texts for b in texts if a != b and b.startswith(a)]
    assert max(len(text.split()) for text in texts) <= 5


def test_vocabulary_size_and_order():
    assert 80 <= len(VOCABULARY) <= 200
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    assert VOCABULARY[:9] == ("<pad>", "<eos>", "<unk>", "review", ":", "the", "was", ",", ".")
    # Shipped checkpoints depend on every id: a change here means training them anew.
    assert VOCABULARY[16] == "soup" and VOCABULARY[30] == "fresh" and VOCABULARY[60] == "i"
    assert len(VOCABULARY) == 82


def test_prompts_have_one_or_two_topics_and_unequal_lengths():
    assert "review the soup :" in PROMPTS
    assert "review the soup and the waiter :" in PROMPTS
    assert len(set(PROMPTS)) == len(PROMPTS)
    assert {len(prompt.split()) for prompt in PROMPTS} == {4, 7}
    for prompt in PROMPTS:
        topics = words.topics_of(prompt)
        assert prompt == words.make_prompt(*topics)
        assert len(topics) == len(set(topics)) == (1 if len(prompt.split()) == 4 else 2)
    firsts = [words.topics_of(prompt)[0] for prompt in PROMPTS]
    assert all(firsts.count(subject) == 2 for subject in words.SORT_OF_SUBJECT)


def test_topics_of_any_text():
    assert words.topics_of("") == ()
    assert words.topics_of("tell me of the zebra") == ()
    assert words.topics_of("cook the fish") == ("cook", "fish")
