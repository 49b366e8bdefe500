"""The cues the lexicon judge reads, in English and Chinese: what people write when a reply pleased them or did not.

Each signal is one regular expression per language, matched against one sentence of the user's message (lower case,
straight apostrophes). Cues are tied to the reply ("that is wrong", "you forgot") rather than to single words, because
the subject of a conversation may well be what is wrong with something, or a great leader.
"""

import re

_IT = (
    r"(?:that|this|it|these|those|they|(?:the|your) (?:\w+ )?(?:answer|reply|response|explanation|code|output|"
    r"result|list|summary|text|version|solution|suggestions?|examples?|information|info|advice|idea|ideas))"
)
_IS = r"(?:'s|'re| is| are| was| were| looks?| sounds?| seems?| feels?)"
_VERY = (
    r"(?: (?:really|very|so|pretty|quite|super|extremely|absolutely|exactly|all|totally|just|simply|actually|a|"
    r"an|truly|already|much|even|definitely|perfectly|incredibly))*"
)
_GOOD = (
    r"(?:great|good|nice|perfect|excellent|awesome|amazing|wonderful|fantastic|brilliant|superb|helpful|useful|"
    r"beautiful|lovely|impressive|insightful|outstanding|spot[ -]on|what i (?:needed|wanted|was looking for|"
    r"meant|need|want))"
)
_INTERESTING = r"(?:interesting|fascinating|cool|neat|intriguing|fun|clever|smart|fair enough|good to know)"
_WRONG = (
    r"(?:wrong|incorrect|false|inaccurate|not (?:right|correct|true|accurate|working)|mistaken|untrue|"
    r"a (?:mistake|lie)|not valid|invalid|outdated|broken)"
)
_BAD = (
    r"(?:useless|terrible|awful|horrible|garbage|rubbish|trash|nonsense|bad|bullshit|crap|stupid|pathetic|"
    r"disappointing|unhelpful|not (?:helpful|useful|good|good enough|great|acceptable)|worse|(?:the )?worst|"
    r"boring|lame|"
    r"pointless|a joke|ridiculous|unacceptable|worthless)"
)
_START = r"^(?:(?:ok(?:ay)?|oh|ah|yes|yeah|yep|wow|hmm+|well|alright|haha|right|so|and|but|hi|hello|hey|no)[ ,.!]+)*"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


ENGLISH = {
    "thanks": _any(
        _START + r"(?:many |much )?(?:thanks?|thank you|thx|tks|ty)\b(?! in advance)",
        r"^(?:i )?(?:really )?(?:appreciate|appreciated) (?:it|that|this|your)\b",
        r"\b(?:thanks|thank you)(?: so much| very much| a lot)?[ !.:)]*$",
        _START + r"much appreciated",
        r"\byou(?:'re| are) (?:a )?(?:the best|amazing|awesome|great|a genius|a lifesaver|life saver|brilliant|"
        r"so helpful|very helpful)\b",
    ),
    "praise": _any(
        _START + rf"{_GOOD}\b(?=[ ]*(?:$|[,.!;:~)-]|(?:and|now|but|so|thanks|thank|job|work|answers?|point|"
        rf"points|start|stuff|one|response|reply|explanation|idea|ideas|list|summary|suggestions?|improvement|"
        rf"catch|this|that|it|you|i|please|can|could|next|let's|what|how|advice|info|"
        rf"information)\b))(?!.{{0,40}}\b(?:for|to|of) an?\b)",
        rf"\b{_IT}{_IS}{_VERY} {_GOOD}\b",
        _START + r"(?:i (?:really |absolutely |do )*(?:love|like|loved|liked|enjoyed)|love|loved|loving) (?:it|"
        r"this|that|these|your|the (?:way|idea|first|second|last|result|story|answer|style|tone))\b",
        r"\b(?:well done|good job|great job|nice job|nice work|great work|good work|good bot|exactly what i)\b",
        r"\bthat(?:'s| is) (?:it|all i need(?:ed)?|exactly (?:it|right|what))\b",
        r"^(?:\w+[ ,.!]+){0,3}(?:this|that|it|which) (?:was |really |has )*(?:helps|helped|helps a lot)(?: me|"
        r" a lot| a ton| understanding)*[ .!,]*$",
    ),
    "works": _any(
        r"\b(?:it|that|this|everything|the code|your (?:code|solution|fix))(?: now| finally| all)? (?:works?|"
        r"worked|is working|runs|solved (?:it|the problem|my problem)|fixed (?:it|the problem|the issue)|"
        r"did the trick|made sense)\b(?! (?:in|with|on|for|by|as)\b)(?!.*\?$)",
        r"\b(?:problem|issue|bug)(?: is| has been| was)?(?: now)? (?:solved|fixed|resolved|gone)\b(?!.*\?$)",
        r"^(?:now )?(?:it )?works(?: now| perfectly| great| fine| well)?[ !.]*$",
        r"\b(?:got it working|no more errors)\b",
    ),
    "welcome": _any(
        _START + rf"(?:that(?:'s| is) )?(?:very |so |really |pretty |quite )?{_INTERESTING}\b(?=[ ,.!]|"
        rf"$)(?! (?:facts?|ways?|things?))",
        rf"\b{_IT}{_IS}{_VERY} {_INTERESTING}(?=[ ,.!]|$)",
        _START + r"(?:(?:that|this|it)(?:'s| is| looks| sounds) )?(?:much|far|way|a lot|already|now|"
        r"even) better\b|" + _START + r"(?:wow|whoa)\b(?!,? ok)",
        _START + r"(?:that |this |it )?(?:makes|made) (?:perfect |a lot of |total )?sense\b",
        _START + r"(?:i see|got it|understood|i understand)\b(?= ?[,.!]?(?: now)?(?: thanks| thank you)[ !.]*$)",
        r"\b(?:i'm|i am) (?:impressed|amazed|excited|happy with|curious (?:now|to know more))\b",
        r"\btell me more\b[.!]*$",
    ),
    "wrong": _any(
        _START + r"(?:that(?:'s| is) |it(?:'s| is) |this is |you(?:'re| are) )?(?:still |completely |totally |"
        r"just |all |also |again |simply )*" + _WRONG + r"\b(?! with (?:my|me|him|her|them)\b)",
        rf"\b{_IT}{_IS}(?: still| completely| totally| just| all| also| simply|"
        rf" again)* {_WRONG}\b(?! with (?:my|me)\b)(?!.*\?$)",
        rf"\b{_IT} (?:isn't|aren't|wasn't|ain't) (?:right|correct|true|accurate|working)\b(?!.*\?$)",
        r"\byou(?:'re| are) (?:still )?(?:wrong|mistaken|incorrect|confus(?:ed|ing))\b",
        r"\bwrong (?:answer|code|format|language|order|number|one|output|result|formula|person|topic)\b",
        r"\byou (?:made|are making|keep making) (?:a |an |the same |another |some )?(?:mistakes?|errors?)\b",
    ),
    "correction": _any(
        r"\byou (?:forgot|missed|skipped|left out|omitted|ignored|overlooked|didn't (?:include|mention|add|use|"
        r"follow|finish|consider|change|include|provide|list|write|give|show|put|do)|did not (?:include|mention|"
        r"add|use|follow|finish|consider|change|provide|list|write|give|show|put|do)|misspelled|misread|"
        r"mixed up|repeated|cut off|stopped|haven't (?:included|mentioned|added|used))\b",
        r"\bi (?:said|asked|wanted|told you|meant|specified|requested|mentioned|was asking)\b.{0,80}\b(?:not|"
        r"n't|instead|only|but)\b",
        r"\b(?:no|not)\b,? i (?:mean|meant|asked|said|want|wanted|need)\b|^i meant?\b|\bwhat i (?:mean|meant)\b",
        r"\bi(?:'m| am)? (?:not asking|wasn't asking|did not ask|didn't ask|didn't mean|didn't say|didn't want|"
        r"did not want|never said)\b",
        r"\b(?:it |that |this )?should (?:have been|be|have|read|say)\b.{0,60}\b(?:not|instead of|rather than)\b",
        r"\b(?:still|but|it|this|that|code|which|they|one)(?: also| just)? (?:doesn't|does not|don't|do not|"
        r"didn't|did not|isn't|is not|won't|will not|can't|cannot) (?:work|working|run|compile|show|match|fit|"
        r"answer|include|contain|exist|load|print|display|return|add up|change|look right|make sense|help|"
        r"do anything)",
        r"(?:^|\b(?:is|it's|still|are) )not working\b|\b(?:nothing happens|nothing (?:shows|appears|changed)|"
        r"it (?:fails|failed|crashes|crashed|throws|threw|gives? (?:me )?(?:an |the |this |"
        r"a )?(?:same )?(?:errors?|\w*error)))\b",
        r"\b(?:still|again|keep|now|but|i|i'm) (?:get|gets|getting|got|have|having|seeing|see|shows?|gives?|"
        r"giving)\b.{0,30}\b(?:errors?|issue|problem|exception|wrong|same)\b",
        r"^(?:(?:the|it's) )?(?:the )?same (?:issue|error|problem|result|thing|mistake)\b|\bstill (?:the same|"
        r"wrong|missing|not|has|have|shows|too|an? error)\b",
        r"\bthat'?s not (?:what(?! i (?:asked|wanted|want|mean|need|was|requested|had))|how|an?|the|my|in)\b|"
        r"\bthis is not (?:what(?! i (?:asked|wanted|want|mean|need|was|requested|had))|how|an?|the|my|in)\b|"
        r"\bit's not (?:what(?! i (?:asked|wanted|want|mean|need|was|requested|had))|an?|the|my|in)\b|"
        r"\bthat is not (?:what(?! i (?:asked|wanted|want|mean|need|was|requested|had))|how|an?|the|my|in)\b",
        r"\b(?:is|are|was|were) (?:also )?missing\b(?!.*\?$)|\bthere (?:is|are|'s) (?:a|an|some|several|still|"
        r"no)? ?(?:mistakes?|errors?|typos?|bugs?)\b(?!.*\?$)",
        rf"\b{_IT}{_IS}(?: still| way| a bit| a little| much| far)* too (?:long|short|generic|formal|vague|"
        rf"complex|complicated|simple|wordy|technical|basic|similar|general|much|robotic|boring)\b",
        r"^(?:still |way |a bit |much )?(?:too|not (?:that|so)) (?:long|short|generic|formal|vague|complex|"
        r"complicated|simple|wordy|technical|basic)\b",
        r"\b(?:actually|no),? (?:it|that|he|she|they|the|there)(?:'s|'re| is| are| was| were) (?:not |actually |"
        r"in )?",
        r"\b(?:fix|correct) (?:that|it|this|your|the (?:error|mistake|bug|code|issue)s?)\b",
        r"\bare you (?:sure|certain)\b|\bdouble[- ]check\b|\bcheck (?:it |that |this |your \w+ )?again\b",
        r"\b(?:don't|do not|doesn't|does not) think (?:that(?:'s| is)|this is|it(?:'s| is)|you(?:'re|"
        r" are)) (?:right|correct|true|accurate)\b|\bi don't (?:believe|think) .{1,40} is (?:correct|right|"
        r"true)\b",
        r"\b(?:instead of|i asked for|i wanted) .{1,60}\byou (?:gave|wrote|used|did|made)\b|\byou (?:gave|wrote|"
        r"used|did|made|provided) .{1,60}\b(?:instead of|not what|but i)\b",
        r"\bcontradicts?\b|\bmakes? (?:the )?same mistakes?\b|\bread (?:my|the) (?:question|message|prompt)\b",
        r"\bonce again,? you\b|^(?:but |and |no[ ,]+|why (?:do|did|are) )?you (?:again|still|keep)\b|"
        r"\bas i (?:said|told you|asked|mentioned) (?:before|already|earlier)\b|\bi already (?:said|told you|"
        r"asked)\b",
        r"\b(?:thanks|thank you|good|great|nice|like it|love it|interesting|feedback|helpful|fine|better|close|"
        r"right|works),? but (?!what|how|why|when|where|who|which|is\b|are\b|can|could|would|will|do\b|does|"
        r"did\b|if\b|also)",
        r"^(?:no|nope)[,.]? (?:make|use|it|not|the|only|just|don't|do not|in|without|with|write|add|please|that|"
        r"this|there|he|she|they|his|her|gpt|can|but)\b",
    ),
    "rejection": _any(
        rf"^{_BAD}[ .!]*$|\b{_IT}{_IS}(?: still| completely| totally| just| all| also| simply| such| absolutely|"
        rf" really| so| very| pretty)*(?: a| an)? {_BAD}\b(?!.*\?$)",
        _START + rf"(?:what (?:a|an) )?(?:complete(?:ly)? |total(?:ly)? |absolute(?:ly)? |such |"
        rf"utter(?:ly)? )?{_BAD}\b(?= ?(?:answer|response|reply|job|work|attempt|[.!,]|$))",
        r"\bnot what i (?:asked|wanted|meant|need|needed|want|was asking|was looking|requested|had in mind)\b",
        r"\b(?:you )?(?:didn't|did not|don't|do not|haven't|never) (?:even )?(?:answer(?:ed)?|address(?:ed)?|"
        r"understand|understood|listen(?:ed)?|read|help(?:ed)?)(?: to)?(?: (?:me|my|the|what|anything)\b|"
        r"[.!]*$)(?<!i don't understand the)(?<!i don't understand what)",
        r"\byou(?:'re| are) (?:so |completely |totally |really |just |absolutely )*(?:not (?:helping|listening|"
        r"helpful|understanding|answering)|useless|stupid|dumb|terrible|an idiot|worthless|hopeless|lying|"
        r"making (?:this|that|it|things|stuff) up|ignoring)\b",
        r"\bi (?:give up\b|hate (?:it|this|that|you)\b|(?:don't|do not|didn't) like (?:(?:it|this|that|"
        r"any)\b(?= ?(?:[,.!;]|$|at all|one|answer|version|style|of))|your\b|the (?:answer|result|first|second|"
        r"way|style|tone|story|ending)\b))\b",
        r"\b(?:waste of (?:my )?time|doesn't help|does not help|no help|not helpful|makes no sense|(?:doesn't|"
        r"does not) make (?:any )?sense|completely off|off[- ]topic|missed the point|missing the point|"
        r"what the (?:hell|fuck)|wtf|fuck you|for shame|shame on you|are you (?:stupid|kidding|serious|dumb|"
        r"joking))\b",
        r"^(?:no[, ]+)?(?:please )?(?:try|do it|do this|start|redo|write it|rewrite it|"
        r"answer)(?: it)?(?: all)? (?:again|over)[ .!]*$|\b(?:redo|rethink) (?:it|everything|this|all)\b|^redo\b",
        r"^(?:no+|nope|wrong|incorrect|false|nah|bad|stop|ugh|disappointing|not good|not really)[ .!,]*$",
        r"\b(?:that|this)(?:'s| is) (?:so |very |really )?(?:disappointing|frustrating|annoying|not good|"
        r"not helpful)\b",
        r"\bi(?:'m| am) (?:so |very |really |getting |quite )*(?:disappointed|frustrated|annoyed|not (?:happy|"
        r"satisfied|impressed))\b",
        r"^(?:ok |okay |no |just )*(?:forget (?:it|about it)|never ?mind)\b",
        r"\bthanks for nothing\b|\bnothing to do with (?:my|what i|the question|this)\b|\b(?:not even close|"
        r"way off)\b",
        _START + r"(?:please )?try (?:it )?again\b(?! (?:with|to|in|later|using))",
        r"\bstop (?:saying|repeating|apologi[sz]ing|giving|doing|making|telling|lying)\b",
    ),
    "pardon": _any(  # looks like a complaint, is none
        r"\bno (?:problem|worries|issues?|errors?|mistakes?|need|idea|doubt|more (?:questions|errors))\b",
        r"\b(?:not|isn't|wasn't) (?:bad|wrong|too bad)\b|\bnothing (?:wrong|missing|else)\b",
        r"\bno,? (?:thanks|thank you|that(?:'s| is) (?:all|it|fine|good|ok|everything|great|perfect))\b",
        r"\bnot only\b|\bmy (?:mistake|bad|fault)\b|\bi (?:was|am) wrong\b|\bi forgot\b|\bsorry,? i\b",
    ),
    "unpraise": _any(  # looks like praise, is none
        r"\b(?:not|isn't|wasn't|aren't|hardly|never|n't)(?: \w+){0,2} (?:great|good|nice|perfect|helpful|useful|"
        r"working|interesting|clear|better|like|love|appreciate|help)\b",
        r"\b(?:would be|should be|could be|will be|to be|if|whether|make (?:it|this|that)|be more|must be|"
        r"what(?:'s| is)|how|why|which|is (?:it|this|that|there)|are (?:they|these|"
        r"there)) (?:\w+ ){0,4}(?:great|good|nice|perfect|helpful|useful|interesting|better|works?|cool|clear|"
        r"appreciated)\b",
        r"\bthanks for nothing\b|\bin advance\b|\bsay (?:thanks|thank you)\b|\bthank(?:s| you) (?:letter|note|"
        r"email|card|message|"
        r"speech)\b|\b(?:good|great) (?:morning|evening|afternoon|night|day|luck)\b",
        r"^(?:please|can|could|would|will|write|create|give|make|generate|suggest|translate|rewrite|list|show|"
        r"tell)\b.*\bthank(?:s| you)\b",
    ),
    "request": _any(
        r"\?\s*$",
        r"\b(?:can|could|would|will) (?:you|we|i)\b|\bplease\b|\bpls\b|\bi(?:'d| would) like\b|\bi (?:want|"
        r"need)\b|\blet's\b",
        _START + r"(?:(?:thanks|thank you|great|good|nice|perfect|excellent|cool|interesting|"
        r"awesome)[,.! ]+)*(?:now|next|then|also|and|but|what|how|why|when|where|who|which|is|are|do|does|did|"
        r"write|give|make|create|add|show|tell|explain|list|rewrite|change|continue|expand|generate|translate|"
        r"provide|suggest|include|convert|use|try|describe|compare|summari[sz]e)\b",
        r"\b(?:what|how) (?:about|if|does|do|is|are|can|would)\b|\bnow (?:do|make|write|add|give|create|change|"
        r"the|let|i|can|explain|show|what|how)\b",
    ),
}  # fmt: skip

CHINESE = {
    "thanks": _any(
        r"^(?:好的?|嗯+|哦|明白了?|懂了|太好了|很好|可以|非常|十分|真的?|真是)?[，, 。！!]*(?:谢谢|感谢|多谢|"
        r"谢了|thanks)",
        r"(?:谢谢|感谢)(?:你|您|啦|了)?(?:的(?:帮助|回答|解答|建议|讲解))?[！!。~～ ]*$",
        r"帮(?:了)?(?:我)?大忙|辛苦(?:了|你了|您了)",
    ),
    "praise": _any(
        r"^(?:哇+|嗯+|哦|好的?|对|是的|这个|这次|这样|你|您|写得|写的|回答得?|讲得|解释得)?[，, ！!]*(?:真的?|"
        r"非常|特别|太|很|挺|相当|十分|已经|就)*(?:好(?![的吧像多])|不错|完美|棒|厉害|赞|优秀|精彩|专业|到位|"
        r"清楚|清晰|详细|有用|有帮助|满意|好用|强|牛)(?:了|的|啊|呀|极了|多了)?(?=$|[，,。！!~～ ])",
        r"(?:写|说|讲|答|回答|解释|分析|总结|翻译|做)得?(?:真|非常|特别|太|很|挺|相当)(?:好|不错|棒|清楚|清晰|"
        r"详细|到位|专业|精彩)",
        r"(?:我)?(?:很|非常|特别|挺|超|好)(?:喜欢|满意|认同)(?!的)|正是我(?:想|需)要|就是(?:这个|这样|我想要)|"
        r"说得对|你说得(?:很)?对",
        r"(?:非常|很|太|真|特别)(?:有帮助|有用|实用|专业)|太(?:好了|棒了|厉害了|强了|赞了|完美了)|没毛病",
    ),
    "works": _any(
        r"(?:问题)?(?:已经)?(?:解决了|搞定了|跑通了|可以运行了|能用了|成功了|运行成功|好使了|可以用了)(?!吗|？|"
        r"\?|怎)",
        r"(?:明白了|懂了|理解了|学会了|清楚了)(?!吗|？|\?)",
    ),
    "welcome": _any(
        r"(?:有意思|有趣|有道理|长见识了|原来如此|原来是这样|学到了|涨知识)(?!的)",
        r"^(?:好主意|好想法|好点子|这个(?:思路|想法|主意|方案|建议)(?:很|不错|挺|真|非常))",
        r"(?:很|挺|真)感兴趣",
    ),
    "wrong": _any(
        r"^(?:你|这|这个|这样|这里|这道题|结果|答案|好像|还是|但是?|不|不是|写的?|说的?|全|都|完全|回答|依然|"
        r"仍然|翻译|代码|内容|格式|计算|上面|刚才|算|得){0,4}(?:不对|错了|不正确|有误|错误的|错的|是错|搞错|"
        r"弄错|写错|算错|答错|说错)",
        r"(?:你|答案|结果|代码|计算|翻译|格式|数据|公式|日期|名字|内容|回答)[^，。！？?]{0,8}(?:不对|错了|"
        r"不正确|有误|是错的|错误)(?!.*(?:吗|？|\?)$)",
    ),
    "correction": _any(
        r"(?:你|您)?(?:又|还是|怎么)?(?:漏了?|忘了?|忘记了?|遗漏了?|少了|没有?(?:写|加|考虑|按照|提到|包含|提供|"
        r"列出|给出|说明|回答|包括|改|翻译|完成))(?!吗|？|\?)(?:.{0,20})?(?<!吗)$",
        r"我(?:要的?|说的?|问的?|指的?|想要的?|需要的?|让你)(?:的)?(?:是|不是)[^？?]{1,40}|"
        r"不是[^，。？?]{1,30}[，,]?(?:而)?是",
        r"(?:应该|应当)(?:是|为|改成|用)[^？?]{1,30}(?:不是|而不是|才对)|才对",
        r"(?:还是|仍然|依然|又|一直|运行|执行|代码|编译)[^，。？?]{0,12}(?:不行|报错|出错|错误|失败|有问题|"
        r"没有?变化|没反应|不能运行|不能用|跑不了)(?!.{0,12}(?:怎么|如何))",
        r"(?:不|没有?)(?:符合|满足|按照?|达到)[^，。？?]{0,12}(?:要求|格式|标准|需求|字数)",
        r"(?:太长|太短|太简单|太复杂|太笼统|太正式|太啰嗦|太官方|太少|字数(?:不够|太多|太少|超))了?",
        r"(?:你)?(?:确定|确认)(?:吗|么|是)|再(?:检查|核对|确认)|重新检查|仔细(?:看|检查)|是真的吗|瞎(?:猜|编)",
        r"(?:改|更正|修正|纠正)(?:一下)?(?:错误|过来|这个错)|(?:有|存在)(?:一个|几个|些|很多|个)?(?:错误|问题|"
        r"bug|错别字)(?!.*(?:怎么|如何|吗|？|\?))",
        r"^(?:不是|不|不要|别)[，, ]",
        r"矛盾|再(?:看|读)一?遍(?:我|题|问)|跟我说的不一样",
        r"我没(?:有)?(?:让|叫|说|问|要)(?:你)?",
    ),
    "rejection": _any(
        r"答非所问|文不对题|胡说|胡扯|乱说|瞎说|一派胡言|胡编|乱编|废话|垃圾|没用|没有用|毫无(?:用|意义|帮助)|"
        r"太差|很差|差劲|糟糕|不满意|失望|无语|离谱|敷衍|太烂|很烂|不知所云|浪费时间",
        r"(?:你|您)(?:根本|完全|压根)?(?:没有?|不)(?:回答|理解|明白|听懂|看懂|懂)(?:我|问题|题|意思)?",
        r"(?:这)?(?:根本|完全|压根)?不是我(?:想|需)?要的|不是我(?:问|想问|说)的",
        r"^(?:不行|不好|不对|不是|错|错了|算了|不可以|不要这个|不喜欢|重来|重写|再试一次|重新(?:写|来|回答|生成|"
        r"做|翻译))(?:一遍|一次|一个|吧)?[，。！!. ]*$",
        r"(?:闭嘴|傻|蠢|笨|智障|滚|有病|什么玩意|搞什么|什么鬼|能不能认真)(?!.{0,3}[瓜蛋]的)",
        r"我不(?:太)?喜欢(?:这|你)|(?:写|说|答|回答|翻译)得?(?:太|很|真|好)(?:差|烂|糟|假)",
    ),
    "pardon": _any(r"没(?:有)?(?:问题|关系|事|错)|不(?:错|客气|用谢|好意思)|没毛病|我(?:搞|弄|说|写|记)错了|"
    r"对不对|不对吗|错误(?:处理|码|信息|日志)|错题"),
    "unpraise": _any(
        r"(?:不|没(?:有)?|怎么|如何|是否|能否|哪个|哪些|什么|更|最|要|写得?更|让它|变得)(?:\w{0,3})(?:好|不错|"
        r"完美|棒|有用|清楚|详细|满意|有趣|有意思|专业|有帮助)",
        r"^(?:请|帮我|帮忙|麻烦|写|给我|能不能|可以|可否|翻译|生成).{4,}(?:谢谢|感谢)|感谢信|致谢|感谢(?:词|语|"
        r"贺|各位|大家|老师)",
    ),
    "request": _any(
        r"[？?]\s*$|(?:吗|呢|么)[。！ ]*$",
        r"请|帮我|再|然后|接下来|接着|那么?|怎么|如何|什么|为什么|能不能|能否|可不可以|给我|写一|换|继续|改成?|"
        r"加上|增加|补充|展开|翻译|解释|举例|列出|生成|详细(?:说|讲|介绍)",
    ),
}  # fmt: skip

UNABLE = _any(
    r"\b(?:access|browse|open|internet|real[- ]time|links?|websites?|images?|pictures?|photos?|videos?|audio|"
    r"files?|download|physical|personal (?:opinions?|experiences?|beliefs?|feelings?)|predict|"
    r"knowledge (?:cutoff|cut-off)|text-based|up-to-date|current (?:data|information))\b",
    r"图片|图像|照片|视频|音频|链接|网页|网站|联网|实时|访问|文件|下载|预测|最新|个人(?:观点|情感|经历)",
)
"""A reply that names a thing it has no means for."""

UNWILLING = _any(
    r"\b(?:illegal|unlawful|harm(?:ful)?|unethical|immoral|inappropriate|offensive|violen(?:t|ce)|dangerous|"
    r"safety|unsafe|polic(?:y|ies)|guidelines|explicit|hate(?:ful)?|discriminat\w+|malicious|weapons?|privacy|"
    r"ethical)\b",
    r"违法|非法|有害|不道德|不当|不恰当|暴力|危险|安全|政策|规定|准则|色情|歧视|恶意|隐私|道德",
)
"""A reply that names a reason not to."""

HARM = _any(
    r"\b(?:insults?|insulting|bully(?:ing)?|harass(?:ing|ment)?|humiliate|threaten(?:ing)?|defam\w+) (?:\w+ ){0,3}"
    r"(?:someone|somebody|people|her|him|them|my|a|an|the|that|this)\b",
    r"\b(?:fake|forged?|counterfeit) (?:\w+ )?(?:note|prescription|certificate|diploma|id|passport|licen[cs]e|"
    r"reviews?|"
    r"documents?|invoice|signature)\b",
    r"\bstolen (?:phone|car|bike|goods|card|property|laptop|data)\b|\bwithout (?:his|her|their|the owner'?s?|anyone|"
    r"them|him|my (?:wife|husband|partner)) (?:know\w*|permission|consent|notic\w+)\b",
    r"\b(?:open|enter|get into|unlock)\b.{0,20}\b(?:neighbou?r|somebody|someone|stranger|else)(?:'s)?\b",
    r"(?:辱骂|侮辱|霸凌|骚扰|威胁|诽谤)[^。，\n]{0,8}(?:人|同学|同事|他|她)|(?:伪造|假的?)[^。，\n]{0,6}(?:证明|"
    r"病假条|证书|身份证|"
    r"护照|处方|公章|签名)|偷(?:来的|看)|不让[^。，\n]{0,6}(?:知道|发现)",
    r"\b(?:make|build|create|construct|assemble|cook|synthesi[sz]e|buy|get|produce|manufactur\w+|"
    r"mix)\b.{0,40}\b(?:bombs?|explosives?|grenades?|molotov|pipe ?bombs?|napalm|thermite|ricin|sarin|"
    r"nerve (?:gas|agent)|poison|meth|methamphetamine|heroin|fentanyl|cocaine|lsd|mdma|ghost guns?|silencers?|"
    r"bioweapons?|chlorine gas|counterfeit|fake (?:ids?|passports?|money))\b",
    r"\b(?:kill|murder|poison|stab|shoot|strangle|assassinate|torture|kidnap|rape|blackmail|stalk|dox|hurt|harm|"
    r"drug)\b (?:\w+ ){0,2}(?:someone|somebody|people|him|her|them|a (?:person|man|woman|child|girl|boy)|my|"
    r"the (?:neighbou?r|president|children|teacher)|myself|another)\b",
    r"\b(?:commit|assist(?:ed)?|ways? of|methods? (?:of|for)|painless) suicide\b|\bkill myself\b|"
    r"\bself[- ]harm\b|\bcut myself\b|\bend my life\b",
    r"\b(?:hack|break|crack|get) into\b.{0,40}\b(?:accounts?|phones?|e-?mails?|wi-?fi|house|car|computers?|"
    r"system|server|network|instagram|facebook|bank|apartment|building)\b|\b(?:hack|crack|steal|"
    r"phish)\b.{0,30}\b(?:passwords?|accounts?|credit cards?|identit(?:y|ies)|wi-?fi|credentials|data|money|"
    r"facebook|instagram|whatsapp)\b",
    r"\b(?:write|create|make|code|build|develop|spread)\b.{0,40}\b(?:malware|ransomware|virus(?:es)?|trojan|"
    r"keylogger|spyware|phishing|botnet|ddos|scam|worm)\b|\bwithout (?:getting|being) caught\b|\b(?:launder|"
    r"evade tax|shoplift|rob a|steal a|pick a lock|bypass (?:the )?(?:alarm|security|paywall)|forge|"
    r"counterfeit)\w*\b",
    r"\b(?:child|underage|minor|loli|teen|year[- ]old)\b.{0,60}\b(?:sex|sexual|porn|nude|naked|erotic|"
    r"explicit)\w*\b|\b(?:sex|sexual|porn|nude|naked|erotic|explicit)\w*\b.{0,60}\b(?:child|children|underage|"
    r"minors?|loli|kids?)\b",
    r"\b(?:porn(?:ographic)?|erotica?|nsfw|smut|explicit sex|sex scene|nude|rape|incest|bestiality|fetish)\b",
    r"\b(?:hate speech|racial slurs?|racist (?:jokes?|speech|essay|rant)|(?:jews|muslims|blacks|women|gays|"
    r"immigrants) are (?:inferior|evil|vermin|trash|subhuman)|ethnic cleansing|white supremac\w+|"
    r"terroris[mt] (?:attack|plan|recruit\w*))\b",
    r"\b(?:home address|social security number|where (?:he|she) lives|track (?:my|his|her) (?:ex|wife|husband|"
    r"girlfriend|boyfriend|phone)|spy on|secretly record)\b",
    r"(?:制造|制作|自制|配制|合成|做|造|购买|买)[^。，\n]{0,12}(?:炸弹|炸药|爆炸物|毒品|冰毒|海洛因|毒药|枪支|"
    r"枪|武器|燃烧瓶|假币|假证|病毒|木马)",
    r"(?:杀(?:死|掉|人|害)(?!.{0,6}(?:进程|任务|线程|程序|虫|细菌|病毒))|谋杀|毒死|投毒|绑架|强奸|迷奸|勒索|"
    r"报复|跟踪|弄死|伤害)(?:.{0,8}(?:人|他|她|老师|"
    r"同学|邻居|老板|女))?|自杀|自残|割腕|结束(?:自己的)?生命",
    r"(?:破解|盗取|盗|窃取|黑进|入侵|攻击)[^。，\n]{0,12}(?:密码|账号|账户|银行卡|手机|微信|网站|系统|服务器|"
    r"网络|wifi)|(?:诈骗|洗钱|逃税|偷税|偷窃|盗窃|撬锁|开锁偷|钓鱼(?:邮件|网站)|勒索软件|走私|贩毒|赌博网站)",
    r"(?:色情|黄色|情色|成人|淫秽|裸)(?:小说|内容|图片|故事|描写|视频|照)|性(?:描写|行为|虐)|"
    r"未成年[^。，\n]{0,10}(?:性|裸|色)|种族(?:歧视|仇恨|清洗)|仇恨言论|(?:家庭住址|身份证号|人肉|开盒|偷拍|"
    r"监听)",
)
"""A request that a careful assistant may well decline."""
